// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "auth/tokens/token_manager.h"
#include "rest/exchange.h"

// GETDELEGATIONTOKEN, RENEWDELEGATIONTOKEN and CANCELDELEGATIONTOKEN (kms-auth.md 4.6): known by
// the parameter "op" on any path.
namespace kms::rest {

enum class TokenOp { get, renew, cancel };

struct TokenOperation {
  TokenOp op;
  std::string_view name, method;
};

// The operation that the query asks for, whatever the method; null when it asks for none. With
// OPTIONS there is none.
const TokenOperation* find_token_operation(std::string_view method, const Query& query);

// Who calls, by short names: who authenticated, and with doAs for whom.
struct TokenCaller {
  std::string user;
  std::string do_as;  // as in the query; empty without
  std::string do_as_short;
};

// What must be there before anybody is asked who he is: the right method. Otherwise the 400.
std::optional<Answer> token_operation_mistake(const TokenOperation& operation,
                                              std::string_view method);

// Does it, unless approval says no. A null caller is for cancel only: whoever holds the token
// cancels it.
Answer run_token_operation(TokenManager& tokens, const TokenOperation& operation,
                           const Query& query, const TokenCaller* caller,
                           const TokenManager::Approval& approval = {});

}  // namespace kms::rest
