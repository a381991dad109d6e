// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "auth/name_rules.h"
#include "auth/tokens/token_store.h"
#include "core/log.h"
#include "core/result.h"

namespace kms {

// Intervals of delegation tokens (hadoop.kms.authentication.delegation-token.*), in seconds.
struct TokenSettings {
  std::int64_t update_interval_s = 86400;
  std::int64_t max_lifetime_s = 604800;
  std::int64_t renew_interval_s = 86400;
  std::int64_t removal_scan_interval_s = 3600;
};

// Whom a valid token stands for, by short names.
struct TokenUser {
  std::string owner;
  std::string real_user;  // empty: the owner acts for himself
};

// The rules of delegation tokens over a store (kms-auth.md 4.6 to 4.8), the same for every store.
// Thread-safe. Messages are Hadoop's and never hold a password or a whole token.
class TokenManager {
 public:
  TokenManager(std::unique_ptr<TokenStore> store, const TokenSettings& settings, NameRules rules,
               Logger& logger);

  Result<void> attach() { return store_->attach(); }
  // About once a second, from one thread: lets the store look, purges when it is due.
  void poll() noexcept;
  Health condition() const noexcept { return store_->condition(); }

  struct Request {
    std::string owner;         // short name: the doAs user, or who asks
    std::string real_user;     // short name of who asks for owner; empty without doAs
    std::string renewer;       // as in the query; mapped to a short name here
    bool has_renewer = false;  // absent: the owner
    std::string service;       // copied into the token
  };
  // Asked when every check has passed and nothing is changed yet; its error stops the change and is
  // the call's. renew_until_ms: ms since the epoch, renew only. May be empty.
  using Approval =
      std::function<Result<void>(const TokenIdentifier& token, std::int64_t renew_until_ms)>;

  // The token as urlString.
  Result<Secret> issue(const Request& request, const Approval& approval = {});

  // caller is a short name. The new renew date in ms since the epoch. Errors: authentication, whose
  // message is "JAVA-CLASS: TEXT" as the reason phrase of the 403; unavailable.
  Result<std::int64_t> renew(std::string_view url_string, std::string_view caller,
                             const Approval& approval = {});

  // caller: short name of who cancels, by cookie; empty: whoever holds the token. The password is
  // checked in both cases, which Java does in the second only. Errors: authentication for every
  // refusal (a 404 with one fixed reason on the wire); unavailable.
  Result<void> cancel(std::string_view url_string, std::string_view caller,
                      const Approval& approval = {});

  // Errors: authentication with the message of the JSON body of kms-auth.md 4.7; unavailable.
  Result<TokenUser> verify(std::string_view url_string);

 private:
  std::unique_ptr<TokenStore> store_;
  TokenSettings settings_;
  NameRules rules_;
  Logger& logger_;
  std::int64_t next_purge_ms_ = 0;
};

// "2026-11-24 11:47:48,226+0000": time as in Hadoop's token messages, in the server's time zone.
std::string token_time(std::int64_t ms);

}  // namespace kms
