// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/health.h"
#include "core/result.h"
#include "core/secret.h"
#include "crypto/eek.h"
#include "keystore/key_state.h"

namespace kms {

// What is known of a key beside its material. Field meanings are those of Hadoop's
// KeyProvider.Metadata.
struct KeyMetadata {
  std::string name;             // as stored, whatever spelling was asked for
  std::string cipher;           // "AES/CTR/NoPadding"; empty when the store has none
  std::int32_t bit_length = 0;  // bits
  std::optional<std::string> description;
  std::map<std::string, std::string> attributes;
  std::int64_t created_ms = 0;        // ms since the epoch, UTC
  std::int32_t versions = 0;          // versions ever made; the current one is versions - 1
  KeyState state = KeyState::active;  // of a store that keeps states
};

// A key that was deleted and can be had back.
struct DeletedKey {
  std::shared_ptr<const KeyMetadata> metadata;
  std::int64_t deleted_ms = 0;  // ms since the epoch, UTC
};

// One version of a key. name is the base name as stored, version_name is name@N.
struct KeyVersion {
  std::string name;
  std::string version_name;
  Secret material;  // empty when the store never gives it out (HSM)
};

using MetadataPtr = std::shared_ptr<const KeyMetadata>;
using VersionPtr = std::shared_ptr<const KeyVersion>;

// What a client asks for when it creates a key. cipher and bit_length are filled with the server's
// defaults by the caller.
struct KeyOptions {
  std::string cipher;
  std::int32_t bit_length = 0;
  std::optional<std::string> description;
  std::map<std::string, std::string> attributes;
  KeyState state = KeyState::active;  // pre_active too, for a store that keeps states
};

// An encrypted DEK: wrapped by key version wrapped_by, under iv (unflipped).
struct Eek {
  std::array<std::uint8_t, kEekIvSize> iv{};
  Bytes material;
  VersionPtr wrapped_by;
};

// An EEK as a client sends it for re-encryption.
struct WrappedDek {
  Bytes iv;  // unflipped
  Bytes material;
};

// Text before the last '@' of a version name; nullopt without an '@' (Hadoop: getBaseName).
std::optional<std::string_view> base_name(std::string_view version_name);
// NAME@N, the only way a version name is built.
std::string version_name(std::string_view name, std::int32_t number);

// Called once when a change is ready and nothing but the disk can prevent it any more, with the
// version that it makes (null for remove). An error abandons the change: the store stays as it was,
// and the caller gets that error. So an audit record is there before the key is, and no key is
// without one. It runs under the store's locks: it must not call the store.
using Approval = std::function<Result<void>(const KeyVersion* fresh)>;

// How much is in a store, as far as this process knows without looking; for metrics.
struct KeyStoreSize {
  std::int64_t keys = 0, versions = 0;
};

class Records;

// A place where keys live. One object serves all threads of a process; every call may be made from
// any thread. A call that changes something returns success only once the change is durable and
// visible to every process that uses the same store. Errors: ErrorKind::io in Java's words where a
// Java provider throws IOException, unavailable when a later try may succeed, corrupt for damaged
// entries. Names and version names are UTF-8. Looking up what does not exist is no error: the
// pointer is null.
class KeyStore {
 public:
  virtual ~KeyStore() = default;

  // How the store is, as far as this process knows by now. Must not wait for anything.
  virtual Health condition() const noexcept { return {}; }

  // The provider URI as clients see it in messages ("jceks://file@/path/kms.keystore").
  virtual const std::string& uri() const = 0;

  // Called once in each process after the fork, before any other call. Opens what must not be
  // inherited.
  virtual Result<void> attach() = 0;
  // Called once at the end of a process that attached: ends threads and connections. What still
  // calls gets an error.
  virtual void detach() noexcept {}
  // Called about once a second by a maintenance thread: notices changes made behind our back.
  virtual void poll() noexcept = 0;
  virtual KeyStoreSize size() { return {}; }
  // What the nodes of this store share beside keys; null where it keeps nothing but keys. Lives as
  // long as the store.
  virtual Records* records() noexcept { return nullptr; }

  virtual Result<std::vector<std::string>> names() = 0;
  virtual Result<MetadataPtr> metadata(std::string_view name) = 0;
  virtual Result<VersionPtr> version(std::string_view version_name) = 0;
  virtual Result<VersionPtr> current_version(std::string_view name) = 0;
  virtual Result<std::vector<VersionPtr>> versions(std::string_view name) = 0;  // oldest first

  // material null: generate it. create refuses an existing name, a name that differs from its
  // lower-case form, and material whose length is not bit_length. roll appends a version.
  virtual Result<VersionPtr> create(std::string_view name, const KeyOptions& options,
                                    const Secret* material, const Approval& approval = {}) = 0;
  virtual Result<VersionPtr> roll(std::string_view name, const Secret* material,
                                  const Approval& approval = {}) = 0;
  virtual Result<void> remove(std::string_view name, const Approval& approval = {}) = 0;

  // Of a store whose remove() only hides a key: what is hidden, by name; one of it, nullopt when
  // there is none; making it a key again; the end of its versions. Other stores have nothing hidden
  // and refuse (unsupported), as by default.
  virtual Result<std::vector<DeletedKey>> deleted_keys();
  virtual Result<std::optional<DeletedKey>> deleted_key(std::string_view name);
  virtual Result<void> undelete(std::string_view name, const Approval& approval = {});
  virtual Result<void> purge(std::string_view name, const Approval& approval = {});

  // Whether keys have states other than active; else set_state() is refused (unsupported), as by
  // default. The store refuses transitions that check_key_transition() refuses, and a roll where
  // check_key_use() does; other uses are for the caller to check.
  virtual bool keeps_states() const noexcept { return false; }
  virtual Result<void> set_state(std::string_view name, KeyState state,
                                 const Approval& approval = {});

  // Drops whatever is cached of the key, so that the next call sees the store.
  virtual Result<void> invalidate(std::string_view name) = 0;

  // Takes a key over from another store as it is: its metadata, with date and count, and those of
  // its versions that there are, in one change. Refuses an existing name. Where a store cannot do
  // that it is an error (unsupported), as by default.
  virtual Result<void> import_key(const KeyMetadata& metadata,
                                  std::span<const VersionPtr> versions);

  // EEK operations. The defaults work on the material of version() and current_version(); a store
  // whose keys never leave it overrides them.
  virtual Result<std::vector<Eek>> generate_eeks(std::string_view name, std::size_t count);
  virtual Result<Secret> decrypt_eek(const VersionPtr& kek, ByteView iv, ByteView eek);
  // Replaces each material by the same DEK wrapped under to; the IVs stay. After an error eeks are
  // of no use.
  virtual Result<void> reencrypt_eeks(const VersionPtr& from, const VersionPtr& to,
                                      std::span<WrappedDek> eeks);
};

}  // namespace kms
