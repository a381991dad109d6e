// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/shared_store.h"
#include "keystore/postgres/trustee_store.h"
#include "pkcs11/apart.h"

namespace kms::pkcs11 {
namespace {

constexpr const char* kProperty = "hadoop.kms.hsm.metadata.uri";

Error wrong(const std::string& text) {
  return Error(ErrorKind::configuration, kProperty + (" " + text));
}

Result<void> check(const StoreOptions& options) {
  const std::string& where = options.hsm.metadata_uri;
  if (where.empty())
    return wrong("is not set, and " + options.uri +
                 " names no file for the metadata; one of them says where they are");
  if (!where.starts_with("trustee:"))
    return wrong("value '" + where + "' is no trustee://USER@HOST:PORT/DATABASE");
  if (!options.previous.uri.empty())
    return wrong(
        "and hadoop.kms.hsm.previous.uri are set together: keys of that database go into the "
        "HSM by themselves, those of another keystore are brought into it by kmsctl migrate");
  return {};
}

}  // namespace

std::shared_ptr<Token> share_token(StoreOptions& options, TokenAccess& access,
                                   const Profile& profile, Logger& logger) {
  if (options.trustee.is_sealed_by_hsm())
    access.options.timeout_ms = options.trustee.seal_timeout_ms(access.options.timeout_ms);
  options.trustee.seal_hsm_profile = std::string(profile.name);
  options.trustee.token = std::make_shared<Token>(
      access.options, access.address, access.pin.clone(), logger, std::make_shared<PinGuard>());
  return options.trustee.token;
}

Result<std::unique_ptr<KeyStore>> open_shared_base(const StoreOptions& options, Logger& logger,
                                                   bool check_only) {
  KMS_TRY(check(options));
  return open_trustee_store(options.hsm.metadata_uri, options.trustee, logger, check_only,
                            shared_version);
}

Result<std::unique_ptr<KeyStore>> open_shared_store(StoreOptions options, const Profile& profile,
                                                    Logger& logger, bool check_only) {
  KMS_TRY(check(options));
  auto access = TokenAccess::read(options.hsm, profile);
  if (!access.ok()) return std::move(access).error();
  if (check_only)
    KMS_TRY(try_login(*access, {options.owner_uid, options.owner_gid, options.user_name}));
  auto token = share_token(options, *access, profile, logger);
  auto base = open_shared_base(options, logger, check_only);
  if (!base.ok()) return base;
  auto next_mending = SharedWord::map();
  if (!next_mending.ok()) return std::move(next_mending).error();
  logger.log(
      LogLevel::info, "KMS0165",
      options.uri + ": the metadata of the keys in the HSM are in " + options.hsm.metadata_uri);
  return std::unique_ptr<KeyStore>(std::make_unique<SharedStore>(
      std::move(options), std::move(*access), std::move(token), std::move(*base),
      std::move(*next_mending), logger, check_only));
}

}  // namespace kms::pkcs11
