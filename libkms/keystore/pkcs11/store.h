// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "keystore/eek_queue.h"
#include "keystore/pkcs11/metadata_file.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/pkcs11/previous.h"
#include "keystore/pkcs11/token_eeks.h"
#include "keystore/pkcs11/uri.h"
#include "keystore/pkcs11/uses.h"
#include "pkcs11/access.h"
#include "pkcs11/token.h"

namespace kms::pkcs11 {

// The store of one process. A key is usable when its object is in the token and the file says so:
// it is made in this order, and undone in the other. Before either, the file notes what is about to
// happen (Pending), so that a crash in between leaves nothing that nobody knows of.
class TokenStore final : public KeyStore {
 public:
  TokenStore(StoreOptions options, TokenAccess access, Logger& logger, StatePtr first,
             bool check_only);
  ~TokenStore() override;

  // Before attach(): looks whether versions that are outside can be had.
  Result<void> open_previous();
  StatePtr latest() { return file_.latest(); }
  // Adds the record of a key that was outside until now, with a first version of the HSM. Error io:
  // there is a key of this name.
  Result<VersionPtr> adopt(KeyRecord record);

  const std::string& uri() const override { return options_.uri; }
  Health condition() const noexcept override;
  Result<void> attach() override;
  void detach() noexcept override;
  void poll() noexcept override;
  KeyStoreSize size() override;
  Result<std::vector<std::string>> names() override;
  Result<MetadataPtr> metadata(std::string_view name) override;
  Result<VersionPtr> version(std::string_view version_name) override;
  Result<VersionPtr> current_version(std::string_view name) override;
  Result<std::vector<VersionPtr>> versions(std::string_view name) override;
  Result<VersionPtr> create(std::string_view name, const KeyOptions& options,
                            const Secret* material, const Approval& approval) override;
  Result<VersionPtr> roll(std::string_view name, const Secret* material,
                          const Approval& approval) override;
  Result<void> remove(std::string_view name, const Approval& approval) override;
  Result<void> invalidate(std::string_view name) override;

  Result<std::vector<Eek>> generate_eeks(std::string_view name, std::size_t count) override;
  Result<Secret> decrypt_eek(const VersionPtr& kek, ByteView iv, ByteView eek) override;
  Result<void> reencrypt_eeks(const VersionPtr& from, const VersionPtr& to,
                              std::span<WrappedDek> eeks) override;

 private:
  Result<EekKey> eek_key(const VersionPtr& version);
  void now_and_then(const std::function<void()>& work) noexcept;

  // store_write.cpp
  Result<VersionPtr> add_version(const WriteLock::Turn& turn, StatePtr base,
                                 const KeyRecord& before, const Approval& approval);
  void mend_pending();
  bool mend(const Pending& pending, Token::Moment since);

  void log(LogLevel level, const char* id, const std::string& text) noexcept {
    logger_.log(level, id, options_.uri + ": " + text);
  }

  const StoreOptions options_;
  const TokenAccess access_;
  Logger& logger_;
  const bool check_only_;
  MetadataFile file_;
  Token token_;
  Previous previous_;
  Uses uses_;
  TokenEeks eeks_;
  EekQueue queue_;
  std::int64_t next_mending_ms_ = 0;
};

Result<std::unique_ptr<TokenStore>> open_token_store(StoreOptions options, Logger& logger,
                                                     bool check_only);

}  // namespace kms::pkcs11
