// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "core/shared_word.h"
#include "keystore/eek_queue.h"
#include "keystore/key_reference.h"
#include "keystore/pkcs11/shared.h"
#include "keystore/pkcs11/token_eeks.h"
#include "pkcs11/access.h"
#include "pkcs11/token.h"
#include "records/records.h"

namespace kms::pkcs11 {

// A version as the rest of the program passes it around; its material stays empty.
struct SharedVersion : KeyVersion {
  std::shared_ptr<const KeyRef> key;  // null:
  Secret software;                    // made before there was an HSM; never given out
};
// What the store below gives out, of what it has sealed.
Result<VersionPtr> shared_version(KeyVersion sealed, std::int32_t bits);

// Keys of a token whose metadata are in a store that many nodes share; a store on top of that one,
// which keeps a reference to the object in the place of material, and which does all else: the
// order of changes, what other nodes and children see, deletion and return, states, records.
//
// An object is made, or destroyed, while the shared store has a note of it (kHsmPending). Made:
// note, object, version, where the transaction of the version takes the note away. Destroyed: the
// transaction that takes the version away leaves the note, then object, note. Of two that want the
// opposite of one object the database lets one through. So whatever dies in between leaves a note,
// which any node mends once it is old.
class SharedStore final : public KeyStore {
 public:
  // token: that of access, which the sealing keys of base may be in, too.
  SharedStore(StoreOptions options, TokenAccess access, std::shared_ptr<Token> token,
              std::unique_ptr<KeyStore> base, std::shared_ptr<SharedWord> next_mending,
              Logger& logger, bool check_only);
  ~SharedStore() override;

  const std::string& uri() const override { return options_.uri; }
  Health condition() const noexcept override;
  Result<void> attach() override;
  void detach() noexcept override;
  void poll() noexcept override;
  KeyStoreSize size() override { return base_->size(); }
  Records* records() noexcept override { return base_->records(); }

  Result<std::vector<std::string>> names() override { return base_->names(); }
  Result<MetadataPtr> metadata(std::string_view name) override { return base_->metadata(name); }
  Result<VersionPtr> version(std::string_view version_name) override {
    return base_->version(version_name);
  }
  Result<VersionPtr> current_version(std::string_view name) override {
    return base_->current_version(name);
  }
  Result<std::vector<VersionPtr>> versions(std::string_view name) override {
    return base_->versions(name);
  }
  Result<VersionPtr> create(std::string_view name, const KeyOptions& options,
                            const Secret* material, const Approval& approval) override;
  Result<VersionPtr> roll(std::string_view name, const Secret* material,
                          const Approval& approval) override;
  Result<void> remove(std::string_view name, const Approval& approval) override {
    return base_->remove(name, approval);
  }
  Result<std::vector<DeletedKey>> deleted_keys() override { return base_->deleted_keys(); }
  Result<std::optional<DeletedKey>> deleted_key(std::string_view name) override {
    return base_->deleted_key(name);
  }
  Result<void> undelete(std::string_view name, const Approval& approval) override {
    return base_->undelete(name, approval);
  }
  Result<void> purge(std::string_view name, const Approval& approval) override;
  bool keeps_states() const noexcept override { return base_->keeps_states(); }
  Result<void> set_state(std::string_view name, KeyState state, const Approval& approval) override {
    return base_->set_state(name, state, approval);
  }
  Result<void> invalidate(std::string_view name) override;

  Result<std::vector<Eek>> generate_eeks(std::string_view name, std::size_t count) override;
  Result<Secret> decrypt_eek(const VersionPtr& kek, ByteView iv, ByteView eek) override;
  Result<void> reencrypt_eeks(const VersionPtr& from, const VersionPtr& to,
                              std::span<WrappedDek> eeks) override;

 private:
  // shared_write.cpp
  Result<void> check_free(std::string_view name);
  Result<KeyReference> make_object(std::string label, std::int32_t bits);
  Result<std::string> new_id();
  void take_back(const KeyReference& object);
  void mend_pending();
  void mend(const Record& note, Token::Moment since);
  void finish(const Record& note, const KeyReference& object, Token::Moment since);
  void destroy_left();
  bool is_referred_to(const KeyReference& object);

  void log(LogLevel level, const char* id, const std::string& text) noexcept {
    logger_.log(level, id, options_.uri + ": " + text);
  }

  const StoreOptions options_;
  const TokenAccess access_;
  Logger& logger_;
  const bool check_only_;
  const std::shared_ptr<SharedWord> next_mending_;  // steady_ms(), of all children of one httpd
  const std::unique_ptr<KeyStore> base_;
  const std::shared_ptr<Token> shared_token_;  // with the sealing keys of base_, or with nobody
  Token& token_;
  TokenEeks eeks_;
  EekQueue queue_;
};

// What begins the ids of all objects of a store: made by whoever is first. Errors: of the records.
Result<std::string> shared_store_id(Records& records, bool make);

// Of an object that was being made: from here on no version can come to refer to it. False: one
// does, or somebody else has done this.
Result<bool> claim_note(Records& records, const Record& note);

// The one token of this process, which has one login: two would finalize the library under each
// other. options and access become those of both uses.
std::shared_ptr<Token> share_token(StoreOptions& options, TokenAccess& access,
                                   const Profile& profile, Logger& logger);

// The store below, opened as it is configured.
Result<std::unique_ptr<KeyStore>> open_shared_base(const StoreOptions& options, Logger& logger,
                                                   bool check_only);

}  // namespace kms::pkcs11
