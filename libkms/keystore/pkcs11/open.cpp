// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include "keystore/pkcs11/pkcs11_store.h"
#include "keystore/pkcs11/shared.h"
#include "keystore/pkcs11/store.h"
#include "pkcs11/apart.h"

namespace kms::pkcs11 {
namespace {

// The owner of the folder where root made a file that the server will write.
void choose_owner(StoreOptions& options, const std::string& path) {
  if (::geteuid() != 0 || options.owner_uid != static_cast<uid_t>(-1)) return;
  struct stat st;
  if (::stat(path.c_str(), &st) != 0 && ::stat(directory_of(path).c_str(), &st) != 0) return;
  options.owner_uid = st.st_uid;
  options.owner_gid = st.st_gid;
}

// The file must be there before the first key: its store id begins the ids of all keys.
Result<StatePtr> make_file(const std::string& path, const StoreOptions& options, Logger& logger) {
  MetadataFile file(path, {options.owner_uid, options.owner_gid}, options.lock_timeout_ms, logger,
                    std::make_shared<const State>());
  KMS_TRY(file.lock().open());
  WriteLock::Turn turn(file.lock());
  KMS_TRY(turn.take());
  auto now = load_state(path);
  if (!now.ok() || (*now)->file.exists) return now;
  auto fresh = empty_state();
  if (!fresh.ok()) return std::move(fresh).error();
  return file.write(turn, **now, std::move(*fresh), nullptr, {});
}

Result<StatePtr> first_state(const std::string& path, const StoreOptions& options, Logger& logger,
                             bool check_only) {
  auto folder = stat_file(directory_of(path));
  if (!folder.ok()) return std::move(folder).error();
  if (!folder->exists)
    return Error(ErrorKind::io, "Can't open " + path + ": the directory " + directory_of(path) +
                                    " does not exist");
  auto first = load_state(path);
  if (!first.ok() || (*first)->file.exists || check_only) return first;
  return make_file(path, options, logger);
}

}  // namespace

Result<std::unique_ptr<TokenStore>> open_token_store(StoreOptions options, Logger& logger,
                                                     bool check_only) {
  auto uri = parse_store_uri(options.uri);
  if (!uri.ok()) return std::move(uri).error();
  if (uri->path.empty())
    return Error(ErrorKind::configuration, options.uri + " has no file of metadata");
  if (!options.hsm.metadata_uri.empty())
    return Error(ErrorKind::configuration,
                 options.uri +
                     " names a file for the metadata, and hadoop.kms.hsm.metadata.uri a "
                     "store; one of them says where they are");
  auto access = TokenAccess::read(options.hsm, *uri->profile);
  if (!access.ok()) return std::move(access).error();
  if (check_only)
    KMS_TRY(try_login(*access, {options.owner_uid, options.owner_gid, options.user_name}));
  choose_owner(options, uri->path);
  auto first = first_state(uri->path, options, logger, check_only);
  if (!first.ok()) return std::move(first).error();
  logger.log(LogLevel::info, "KMS0158",
             uri->path + ": metadata of " + std::to_string((*first)->keys.size()) +
                 " keys in the HSM opened");
  auto store = std::make_unique<TokenStore>(std::move(options), std::move(*access), logger,
                                            std::move(*first), check_only);
  KMS_TRY(store->open_previous());
  return store;
}

Result<std::unique_ptr<KeyStore>> open_store(StoreOptions options, Logger& logger,
                                             bool check_only) {
  auto uri = parse_store_uri(options.uri);
  if (!uri.ok()) return std::move(uri).error();
  if (uri->path.empty())
    return open_shared_store(std::move(options), *uri->profile, logger, check_only);
  auto store = open_token_store(std::move(options), logger, check_only);
  if (!store.ok()) return std::move(store).error();
  return std::unique_ptr<KeyStore>(std::move(*store));
}

}  // namespace kms::pkcs11
