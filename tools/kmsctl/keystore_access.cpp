// SPDX-License-Identifier: Apache-2.0
#include "keystore_access.h"

#include <cstdlib>
#include <filesystem>

#include "secret_file.h"
#include "served_keys.h"

namespace kmsctl {
namespace {

constexpr const char* kProvider = "hadoop.kms.key.provider.uri";
constexpr const char* kPasswordFile =
    "hadoop.security.keystore.java-keystore-provider.password-file";

// What kms-site.xml says about one property; an error when it cannot be read.
Result<std::string> of_site(const Conf& conf, const char* property) {
  kms::hadoop::SettingsErrors errors;
  const auto merged = kms::hadoop::read_configuration(conf.input, errors);
  if (!errors.lines.empty()) return Error(ErrorKind::configuration, errors.lines.front());
  return merged.get_string(property, {});
}

Result<kms::Secret> password_of(const Conf& conf, const std::string& password_file) {
  if (!password_file.empty()) return read_secret_file(password_file);
  if (const char* text = std::getenv("HADOOP_KEYSTORE_PASSWORD"))
    return kms::Secret(std::string_view(text));
  // Without a readable configuration it is the password of one that says nothing.
  auto file = of_site(conf, kPasswordFile);
  if (!file.ok() || file->empty()) return kms::Secret(std::string_view("none"));
  return read_secret_file(file->front() == '/' ? *file : conf.input.conf_dir + "/" + *file);
}

}  // namespace

Result<KeystoreAccess> keystore_access(const Conf& conf, const std::string& given,
                                       const std::string& password_file) {
  KeystoreAccess access;
  access.uri = given;
  if (given.empty()) {
    auto uri = of_site(conf, kProvider);
    if (!uri.ok()) return std::move(uri).error();
    access.uri = std::move(*uri);
  } else if (given.find("://") == std::string::npos) {
    access.uri = "jceks://file@" + std::filesystem::absolute(given).string();
  }
  access.path = kms::keystore_file(access.uri);
  if (access.uri.starts_with("trustee:") || access.uri.starts_with("hsm:")) {
    kms::hadoop::SettingsErrors errors;
    kms::hadoop::Settings settings = kms::hadoop::load_settings(conf.input, errors);
    if (!errors.lines.empty()) return Error(ErrorKind::configuration, errors.lines.front());
    access.trustee = std::move(settings.trustee);
    access.hsm = std::move(settings.hsm);
    // What the configuration says of its own provider.
    if (!given.empty() && !given.starts_with("hsm:")) access.hsm.metadata_uri.clear();
    access.trustee.user = {conf.uid, conf.gid, conf.serving_user};
    if (!access.uri.starts_with("hsm:") || !access.hsm.previous_uri.starts_with("jceks:"))
      return access;
  }
  auto password = password_of(conf, password_file);
  if (!password.ok()) return std::move(password).error();
  access.password = std::move(*password);
  return access;
}

kms::KeyStoreOptions store_options(const KeystoreAccess& access) {
  kms::KeyStoreOptions options;
  options.uri = access.uri;
  options.password = access.password.clone();
  options.trustee = access.trustee;
  options.hsm = access.hsm;
  return options;
}

Result<std::unique_ptr<kms::KeyStore>> open_keystore(const KeystoreAccess& access,
                                                     kms::Logger& logger, bool check_only) {
  if (access.served != nullptr) return open_served_keys(access.served);
  auto store = kms::open_keystore(store_options(access), logger, check_only);
  if (store.ok() && !check_only) KMS_TRY((*store)->attach());
  return store;
}

}  // namespace kmsctl
