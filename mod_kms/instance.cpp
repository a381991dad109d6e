// SPDX-License-Identifier: Apache-2.0
#include "instance.h"

#include <fstream>
#include <iterator>

#include "access_check.h"
#include "auth/system_groups.h"
#include "auth/tokens/file_token_store.h"
#include "core/clock.h"
#include "core/secret_input.h"
#include "keystore/factory.h"
#include "records/signer.h"
#include "records/token_store.h"
#include "zookeeper/signer.h"
#include "zookeeper/token_store.h"

namespace kms {
namespace {

constexpr std::size_t kStartRoom = 64;

// The content of a password file.
Result<Secret> read_password(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return Error(ErrorKind::configuration, "keystore password file " + path + " cannot be read");
  Secret buffer(64 * 1024 + 1);
  in.read(reinterpret_cast<char*>(buffer.data()), static_cast<std::streamsize>(buffer.size()));
  const auto length = static_cast<std::size_t>(in.gcount());
  if (length == buffer.size())
    return Error(ErrorKind::configuration, "keystore password file " + path + " is over 64 KiB");
  return Secret(trimmed(buffer.view().first(length)));
}

Result<Secret> keystore_password(const InstanceOptions& options, const hadoop::Settings& settings) {
  if (options.password != nullptr) return options.password->clone();
  if (!options.password_file.empty()) return read_password(options.password_file);
  if (options.environment_password != nullptr) return options.environment_password->clone();
  if (!settings.keystore_password_file.empty())
    return read_password(settings.keystore_password_file);
  return Secret(std::string_view("none"));
}

}  // namespace

std::unique_ptr<Instance> Instance::open(const InstanceOptions& options, Logger& logger,
                                         std::vector<std::string>& problems) {
  std::unique_ptr<Instance> instance(new Instance(logger, options.metrics_region));
  hadoop::SettingsErrors errors;
  instance->settings_ = hadoop::load_settings(options.settings, errors);
  for (const std::string& warning : instance->settings_.warnings)
    instance->logger_.log(LogLevel::warn, "KMS0010", warning);
  problems.insert(problems.end(), errors.lines.begin(), errors.lines.end());
  if (!errors.lines.empty()) return nullptr;

  // Each part reports on its own, so that one run of configtest shows every mistake.
  const bool policy = instance->open_policy(options, problems);
  const bool keys = instance->open_keys(options, problems);
  // Both may live in the key store; where that could not be opened there is nothing more to say.
  const bool signer = instance->open_signer(options, problems);
  const bool tokens = instance->open_tokens(options, problems);
  const bool denials = instance->open_denials(options, problems);
  const bool limits = instance->open_limits(options, problems);
  const std::vector<std::string> audit = check_audit_config(options.audit, options.check_only);
  problems.insert(problems.end(), audit.begin(), audit.end());
  if (!policy || !signer || !keys || !tokens || !denials || !limits || !audit.empty())
    return nullptr;
  // Last: it begins the chain.
  if (!options.check_only && !instance->open_audit(options)) return nullptr;
  return instance;
}

bool Instance::open_audit(const InstanceOptions& options) {
  AuditConfig config = options.audit;
  config.timed = [this](std::int64_t us) { metrics_->count_duration(cells::kAuditWrites, us); };
  if (options.audit_aggregate) config.window_ms = settings_.audit_aggregation_window_ms;
  auto log = open_audit_log(config, logger_);
  if (!log.ok()) {
    logger_.log(
        LogLevel::error, "KMS0509",
        "the audit log " + config.target.name + " cannot be opened: " + log.error().message);
    return false;
  }
  audit_ = std::move(*log);
  audit_buffered_ = config.durability == AuditDurability::none;
  audit_->show_denials(&*denials_);
  return true;
}

bool Instance::open_policy(const InstanceOptions& options, std::vector<std::string>& problems) {
  bool good = true;
  auto fail = [&](const Error& error) {
    problems.push_back(error.message);
    good = false;
  };
  Groups::Options group_options;
  group_options.static_mapping = settings_.group_static_mapping;
  group_options.cache_s = settings_.group_cache_s;
  group_options.negative_cache_s = settings_.group_negative_cache_s;
  group_options.lookup = metered(system_groups, *metrics_);
  if (auto groups = Groups::create(std::move(group_options), logger_); groups.ok()) {
    groups_ = std::move(*groups);
  } else {
    fail(groups.error());
  }
  administrators_ = AccessList(settings_.http_administrators);
  std::vector<std::string> warnings;
  if (auto proxies = ProxyUsers::build(settings_.proxy_users, warnings); proxies.ok()) {
    proxy_users_.emplace(std::move(*proxies));
  } else {
    fail(proxies.error());
  }
  for (const std::string& warning : warnings) logger_.log(LogLevel::warn, "KMS0011", warning);
  if (auto acls = AclFile::open(settings_.acl_file, logger_, options.settings.system_properties);
      acls.ok()) {
    acls_ = std::move(*acls);
  } else {
    fail(acls.error());
  }
  return good;
}

bool Instance::open_signer(const InstanceOptions& options, std::vector<std::string>& problems) {
  const std::int64_t period_ms = settings_.token_validity_s * 1000;
  const bool in_store = settings_.signer == hadoop::SignerKind::trustee;
  if (in_store && keys_ == nullptr) return true;
  if (settings_.signer == hadoop::SignerKind::random) {
    if (options.check_only) return true;
    if (auto ready = init_shared_signer(options.signer_region, period_ms); !ready.ok()) {
      problems.push_back(ready.error().message);
      return false;
    }
    signer_ = make_shared_signer(options.signer_region);
    return true;
  }
  auto signer = in_store ? make_record_signer(*keys_->records(), period_ms, logger_)
                : settings_.signer == hadoop::SignerKind::zookeeper
                    ? make_zookeeper_signer(settings_.signer_zookeeper, period_ms, logger_)
                    : make_file_signer(settings_.signature_secret_file, period_ms, logger_);
  if (!signer.ok()) {
    problems.push_back(signer.error().message);
    return false;
  }
  signer_ = std::move(*signer);
  return true;
}

bool Instance::open_tokens(const InstanceOptions& options, std::vector<std::string>& problems) {
  tokens_in_store_ =
      !settings_.tokens_in_zookeeper && options.token_file.empty() && settings_.keeps_records();
  if (tokens_in_store_ && keys_ == nullptr) return true;
  const auto open_store = [&]() -> Result<std::unique_ptr<TokenStore>> {
    if (settings_.tokens_in_zookeeper)
      return make_zookeeper_token_store(settings_.token_zookeeper, logger_);
    if (tokens_in_store_) return make_record_token_store(*keys_->records(), logger_);
    FileTokenStoreOptions store;
    store.path = options.token_file;
    if (store.path.empty()) {
      const std::string keystore = keystore_file(settings_.key_provider_uri);
      if (keystore.empty())
        return Error(ErrorKind::configuration,
                     "KMSTokenFile is not set, and the key provider has no folder to take instead");
      store.path = keystore + ".tokens";
    }
    store.owner_uid = options.uid;
    store.owner_gid = options.gid;
    store.lock_timeout_ms = options.lock_timeout_ms;
    return open_file_token_store(std::move(store), logger_, options.check_only);
  };
  auto store = open_store();
  if (!store.ok()) {
    problems.push_back(store.error().message);
    return false;
  }
  tokens_ = std::make_unique<TokenManager>(metered(std::move(*store), *metrics_), settings_.tokens,
                                           settings_.name_rules, logger_);
  return true;
}

// Memory of the denials begins with the time of the start, which a graceful restart keeps.
bool Instance::open_denials(const InstanceOptions& options, std::vector<std::string>& problems) {
  times_.configured = now_ms();
  if (options.check_only) return true;
  auto* region = static_cast<char*>(options.shared_region(
      "denials-" + std::to_string(DenialRing::kLayout), kStartRoom + DenialRing::kBytes));
  if (region == nullptr) {
    problems.push_back("no shared memory for the status page");
    return false;
  }
  auto& started = *reinterpret_cast<std::int64_t*>(region);
  if (started == 0) started = now_ms();
  times_.started = started;
  DenialRing::prepare(region + kStartRoom);
  denials_.emplace(region + kStartRoom);
  return true;
}

bool Instance::open_limits(const InstanceOptions& options, std::vector<std::string>& problems) {
  if (options.check_only || (settings_.rate_limits.empty() && settings_.decrypt_alarms.empty()))
    return true;
  void* region =
      options.shared_region("limits-" + std::to_string(LimitTable::kLayout), LimitTable::kBytes);
  const auto ready = region == nullptr
                         ? Error(ErrorKind::internal, "no shared memory for limits and alarms")
                         : LimitTable::prepare(region);
  if (!ready.ok()) {
    problems.push_back(ready.error().message);
    return false;
  }
  limits_.emplace(settings_.rate_limits, settings_.decrypt_alarms, region, logger_);
  return true;
}

bool Instance::open_keys(const InstanceOptions& options, std::vector<std::string>& problems) {
  // A store that is no file has secrets of its own.
  const bool is_file = !keystore_file(settings_.key_provider_uri).empty();
  auto password = is_file ? keystore_password(options, settings_) : Result<Secret>(Secret());
  if (!password.ok()) {
    problems.push_back(password.error().message);
    return false;
  }
  KeyStoreOptions store;
  store.uri = settings_.key_provider_uri;
  store.password = std::move(*password);
  store.jceks_iterations = options.jceks_iterations;
  store.lock_timeout_ms = options.lock_timeout_ms;
  store.owner_uid = options.uid;
  store.owner_gid = options.gid;
  store.trustee = settings_.trustee;
  store.user_name = options.user_name;
  store.hsm = settings_.hsm;
  auto opened = open_keystore(std::move(store), logger_, options.check_only);
  if (!opened.ok()) {
    // A mistake in the URI has a place; what is wrong with the keystore itself has the file's path.
    const bool in_uri = opened.error().kind == ErrorKind::configuration;
    problems.push_back((in_uri ? settings_.key_provider_where : "") + opened.error().message);
    return false;
  }
  keys_ = std::move(*opened);
  const std::string file = keystore_file(settings_.key_provider_uri);
  if (options.uid == static_cast<uid_t>(-1) || file.empty()) return true;
  const std::string why = access_problem(file, options.user_name, options.uid, options.gid);
  if (!why.empty()) problems.push_back(why);
  return why.empty();
}

Result<void> Instance::attach() {
  metrics_->attach();
  audit_->attach();
  // Each is tried: what works serves, whatever else does not.
  auto keys = keys_->attach(), signer = signer_->attach(), tokens = tokens_->attach();
  constexpr const char* kNotOpened = "this child could not open it at its start; see the error log";
  if (!keys.ok()) keys_attached_.set(HealthState::failing, kNotOpened);
  if (!signer.ok()) signer_attached_.set(HealthState::failing, kNotOpened);
  if (!tokens.ok() && tokens_->condition().state == HealthState::good)
    tokens_attached_.set(HealthState::failing, kNotOpened);
  return !keys.ok() ? std::move(keys) : !signer.ok() ? std::move(signer) : std::move(tokens);
}

std::vector<Instance::Component> Instance::components() const {
  constexpr std::int64_t kHangsMs = 30'000;
  std::vector<Component> found;
  const auto add = [&](const char* name, const Health& health, std::string detail) {
    found.push_back({name, health, std::move(detail)});
  };
  const auto worse = [](const Health& attached, const Health& now) {
    return attached.state != HealthState::good ? attached : now;
  };
  const AuditHealth audit = audit_->health();
  const Health unwritten = {
      audit_buffered_ ? HealthState::degraded : HealthState::failing, audit.failing_since_ms,
      audit_buffered_ ? "the audit log cannot be written; records wait in memory"
                      : "the audit log cannot be written; no request is served"};
  add("audit", audit.ok ? Health() : unwritten, audit.last_error);
  add("keystore", worse(keys_attached_.read(), keys_->condition()), settings_.key_provider_uri);
  add("acls", acls_->condition(), settings_.acl_file);
  add("signer", worse(signer_attached_.read(), signer_->condition()),
      settings_.signer == hadoop::SignerKind::zookeeper
          ? settings_.signer_zookeeper.connection_string
      : settings_.signer == hadoop::SignerKind::trustee ? settings_.key_provider_uri
                                                        : settings_.signature_secret_file);
  add("tokens", worse(tokens_attached_.read(), tokens_->condition()),
      settings_.tokens_in_zookeeper ? settings_.token_zookeeper.connection_string
      : tokens_in_store_            ? settings_.key_provider_uri
                                    : std::string());
  const std::int64_t polled = polled_ms_.load(std::memory_order_relaxed);
  const std::int64_t silent = steady_ms() - polled;
  const Health hangs = {HealthState::degraded, now_ms() - silent,
                        "the periodic look at files hangs; what is said here may be old"};
  add("maintenance", polled != 0 && silent > kHangsMs ? hangs : Health(), {});
  return found;
}

void Instance::poll() noexcept {
  metrics_->tick(steady_ms());
  polled_ms_.store(steady_ms(), std::memory_order_relaxed);
  acls_->poll();
  keys_->poll();
  signer_->poll();
  tokens_->poll();
  if (auto swept = audit_->sweep(steady_ms()); !swept.ok())
    logger_.log(LogLevel::error, "KMS0510", swept.error().message);
}

void Instance::finish() noexcept {
  if (auto flushed = audit_->flush(); !flushed.ok())
    logger_.log(LogLevel::error, "KMS0511", flushed.error().message);
  metrics_->detach();
  keys_->detach();
}

rest::Service Instance::service() {
  return {*keys_,
          *acls_,
          *groups_,
          *audit_,
          limits(),
          settings_.key_authorization,
          settings_.default_cipher,
          settings_.default_bit_length,
          metrics_.get()};
}

}  // namespace kms
