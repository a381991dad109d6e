// SPDX-License-Identifier: Apache-2.0
#include "auth/tokens/token_manager.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <exception>
#include <utility>

#include "auth/tokens/writable.h"
#include "core/clock.h"
#include "crypto/random.h"

namespace kms {
namespace {

constexpr std::string_view kInvalidToken =
    "org.apache.hadoop.security.token.SecretManager$InvalidToken: ";
constexpr std::string_view kAccessControl = "org.apache.hadoop.security.AccessControlException: ";
constexpr std::int64_t kFirstPurgeMs = 5000;  // Java's thread wakes as often
// Tokens are kept in the memory of every process, for days.
constexpr std::size_t kMaxNameBytes = 1024;

Error refused(std::string_view java_class, std::string text) {
  return Error(ErrorKind::authentication, text.insert(0, java_class));
}

std::string quoted(const TokenIdentifier& id) {
  return "(" + id.text() + ")";
}

// What a sender gave for the store to look at.
struct Presented {
  WireToken wire;
  TokenIdentifier id;
};

Result<Presented> decode(std::string_view url_string) {
  auto wire = WireToken::decode(url_string);
  if (!wire.ok()) return std::move(wire).error();
  auto id = TokenIdentifier::decode(wire->identifier);
  if (!id.ok()) return std::move(id).error();
  return Presented{std::move(*wire), std::move(*id)};
}

// Processes that started together are not to purge together.
std::int64_t spread(std::int64_t ms) {
  std::uint32_t random = 0;
  if (!fill_public({reinterpret_cast<std::uint8_t*>(&random), sizeof random}).ok()) return 0;
  return static_cast<std::int64_t>(random) % std::max<std::int64_t>(ms, 1);
}

// HadoopKerberosName of the renewer, in the constructor of Java's identifier: what it throws there
// is no IOException, so what the client sees is a failure of the server.
Result<std::string> renewer_name(const NameRules& rules, const TokenManager::Request& request) {
  if (!request.has_renewer) return request.owner;
  if (request.renewer.empty()) return std::string();
  return rules.short_name(request.renewer);
}

// The users of Java's getUser(), whose names are those that were given at the issue. doAs may have
// given a full one.
Result<TokenUser> user_of(const NameRules& rules, const TokenIdentifier& id) {
  if (id.owner.empty()) return refused(kInvalidToken, "Token with no owner " + quoted(id));
  TokenUser out;
  auto set = [&](const std::string& full, std::string& to) -> Result<void> {
    auto name = rules.short_name(full);
    if (!name.ok())
      return refused("java.lang.IllegalArgumentException: ",
                     "Illegal principal name " + printed(full) + ": " + name.error().message);
    to = std::move(*name);
    return {};
  };
  KMS_TRY(set(id.owner, out.owner));
  if (!id.real_user.empty() && id.real_user != id.owner) KMS_TRY(set(id.real_user, out.real_user));
  return out;
}

}  // namespace

TokenManager::TokenManager(std::unique_ptr<TokenStore> store, const TokenSettings& settings,
                           NameRules rules, Logger& logger)
    : store_(std::move(store)), settings_(settings), rules_(std::move(rules)), logger_(logger) {}

void TokenManager::poll() noexcept {
  store_->poll();
  const std::int64_t interval = settings_.removal_scan_interval_s * 1000;
  const std::int64_t now = steady_ms();
  if (next_purge_ms_ == 0) next_purge_ms_ = now + spread(std::min(interval, kFirstPurgeMs));
  if (now < next_purge_ms_) return;
  next_purge_ms_ = now + interval + spread(interval / 10);
  try {
    const auto purged = store_->purge(now_ms());
    if (!purged.ok()) {
      logger_.log(LogLevel::warn, "KMS0311",
                  "expired delegation tokens are not removed: " + purged.error().message);
    } else if (*purged > 0) {
      logger_.log(LogLevel::info, "KMS0310",
                  std::to_string(*purged) + " expired delegation tokens removed");
    }
  } catch (const std::exception& e) {
    logger_.log(LogLevel::error, "KMS0312", e.what());
  }
}

Result<Secret> TokenManager::issue(const Request& request, const Approval& approval) {
  auto renewer = renewer_name(rules_, request);
  if (!renewer.ok()) return std::move(renewer).error();
  const std::int64_t now = now_ms();
  const std::int64_t life = settings_.max_lifetime_s * 1000;
  auto key = store_->current_key(now, {settings_.update_interval_s * 1000, life});
  if (!key.ok()) return std::move(key).error();
  const auto sequence = store_->next_sequence();
  if (!sequence.ok()) return sequence.error();
  TokenIdentifier id;
  id.owner = request.owner;
  id.renewer = std::move(*renewer);
  id.real_user = request.real_user;
  id.issue_ms = now;
  id.max_ms = now + life;
  id.sequence = *sequence;
  id.master_key_id = (*key)->id;
  for (const std::string* name : {&id.owner, &id.renewer, &id.real_user})
    if (name->size() > kMaxNameBytes)
      return Error(ErrorKind::invalid_argument, "A name in the token is longer than " +
                                                    std::to_string(kMaxNameBytes) + " bytes");
  WireToken wire;
  wire.identifier = id.encode();
  auto password = token_password((*key)->secret.view(), wire.identifier);
  if (!password.ok()) return std::move(password).error();
  wire.password = std::move(*password);
  wire.kind = kTokenKind;
  wire.service = request.service;
  if (approval) KMS_TRY(approval(id, 0));
  KMS_TRY(
      store_->add({std::move(id), now + settings_.renew_interval_s * 1000, wire.password.clone()}));
  return wire.encode();
}

Result<std::int64_t> TokenManager::renew(std::string_view url_string, std::string_view caller,
                                         const Approval& approval) {
  const auto token = decode(url_string);
  if (!token.ok()) return token.error();
  const TokenIdentifier& id = token->id;
  const std::string who(caller);
  const std::int64_t now = now_ms();
  if (id.max_ms < now)
    return refused(kInvalidToken, who + " tried to renew an expired token " + quoted(id) +
                                      " max expiration date: " + token_time(id.max_ms) +
                                      " currentTime: " + token_time(now));
  if (id.renewer.empty())
    return refused(kAccessControl,
                   who + " tried to renew a token " + quoted(id) + " without a renewer");
  if (id.renewer != caller)
    return refused(kAccessControl, who + " tries to renew a token " + quoted(id) +
                                       " with non-matching renewer " + printed(id.renewer));
  auto key = store_->key(id.master_key_id);
  if (!key.ok()) return std::move(key).error();
  if (*key == nullptr)
    return refused(kInvalidToken,
                   "Unable to find master key for keyId=" + std::to_string(id.master_key_id) +
                       " from cache. Failed to renew an unexpired token " + quoted(id) +
                       " with sequenceNumber=" + std::to_string(id.sequence));
  const auto password = token_password((*key)->secret.view(), token->wire.identifier);
  if (!password.ok()) return password.error();
  if (!password->equals(token->wire.password.view()))
    return refused(kAccessControl,
                   who + " is trying to renew a token " + quoted(id) + " with wrong password");
  const std::int64_t until = std::min(id.max_ms, now + settings_.renew_interval_s * 1000);
  const auto unknown = [&] {
    return refused(kInvalidToken, "Renewal request for unknown token " + quoted(id));
  };
  const auto known = store_->find(id);
  if (!known.ok()) return known.error();
  if (*known == nullptr) return unknown();
  if (approval) KMS_TRY(approval(id, until));
  const auto renewed = store_->renew(id, until);
  if (!renewed.ok()) return renewed.error();
  if (!*renewed) return unknown();  // removed in between
  return until;
}

// Java looks at the password only of a token that nobody answers for.
Result<void> TokenManager::cancel(std::string_view url_string, std::string_view caller,
                                  const Approval& approval) {
  const auto token = decode(url_string);
  if (!token.ok()) return token.error();
  const TokenIdentifier& id = token->id;
  const auto stored = store_->find(id);
  if (!stored.ok()) return stored.error();
  if (*stored == nullptr) return refused(kInvalidToken, "Token not found " + quoted(id));
  if (!(*stored)->password.equals(token->wire.password.view()))
    return refused(kInvalidToken, "token " + quoted(id) + " is invalid, password doesn't match");
  std::string who(caller);
  if (caller.empty()) {
    // The token is its own witness, as long as it is valid.
    if ((*stored)->renew_ms < now_ms())
      return refused(kInvalidToken, "token " + quoted(id) + " has expired");
    auto user = user_of(rules_, id);
    if (!user.ok()) return std::move(user).error();
    who = std::move(user->owner);
  }
  if (id.owner != who) {
    const auto name = rules_.short_name(who);
    if (!name.ok()) return name.error();
    if (id.renewer.empty() || *name != id.renewer)
      return refused(kAccessControl, who + " is not authorized to cancel the token " + quoted(id));
  }
  if (approval) KMS_TRY(approval(id, 0));
  const auto removed = store_->remove(id);
  if (!removed.ok()) return removed.error();
  if (!*removed) return refused(kInvalidToken, "Token not found " + quoted(id));
  return {};
}

Result<TokenUser> TokenManager::verify(std::string_view url_string) {
  const auto token = decode(url_string);
  if (!token.ok()) return token.error();
  const TokenIdentifier& id = token->id;
  const auto stored = store_->find(id);
  if (!stored.ok()) return stored.error();
  if (*stored == nullptr)
    return refused(kInvalidToken,
                   "Token for real user: " + printed(id.real_user) + ", can't be found in cache");
  const std::int64_t now = now_ms();
  if ((*stored)->renew_ms < now)
    return refused(kInvalidToken, "Token " + printed(id.real_user) +
                                      " has expired, current time: " + token_time(now) +
                                      " expected renewal time: " + token_time((*stored)->renew_ms));
  if (!(*stored)->password.equals(token->wire.password.view()))
    return refused(kInvalidToken, "token " + quoted(id) + " is invalid, password doesn't match");
  return user_of(rules_, id);
}

std::string token_time(std::int64_t ms) {
  std::int64_t seconds = ms / 1000;
  std::int64_t rest = ms % 1000;
  if (rest < 0) {
    rest += 1000;
    --seconds;
  }
  const auto time = static_cast<std::time_t>(seconds);
  struct tm parts;
  if (::localtime_r(&time, &parts) == nullptr) return std::to_string(ms);
  char day[40], zone[8], all[64];
  std::strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &parts);
  std::strftime(zone, sizeof zone, "%z", &parts);
  std::snprintf(all, sizeof all, "%s,%03d%s", day, static_cast<int>(rest), zone);
  return all;
}

}  // namespace kms
