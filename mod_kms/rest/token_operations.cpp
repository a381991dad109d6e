// SPDX-License-Identifier: Apache-2.0
#include "rest/token_operations.h"

#include <strings.h>

#include "rest/dispatch.h"

namespace kms::rest {
namespace {

constexpr TokenOperation kOperations[] = {
    {TokenOp::get, "GETDELEGATIONTOKEN", "GET"},
    {TokenOp::renew, "RENEWDELEGATIONTOKEN", "PUT"},
    {TokenOp::cancel, "CANCELDELEGATIONTOKEN", "PUT"},
};

Answer page(int status, std::string reason) {
  Answer answer;
  answer.status = status;
  answer.html_reason = std::move(reason);
  return answer;
}

// A refusal is a page with its reason; a store that is away is a 503 like any other.
Answer failure(Error error, int refused_status, std::string_view refused_reason = {}) {
  if (error.kind != ErrorKind::authentication) return error_answer(error);
  Answer answer =
      page(refused_status, refused_reason.empty() ? error.message : std::string(refused_reason));
  answer.clears_cookie = refused_reason.empty();
  answer.failure = error.kind;
  answer.failure_text = std::move(error.message);
  return answer;
}

Answer issue(TokenManager& tokens, const Query& query, const TokenCaller& caller,
             const TokenManager::Approval& approval) {
  TokenManager::Request request;
  request.owner = caller.do_as.empty() ? caller.user : caller.do_as;
  if (!caller.do_as.empty()) request.real_user = caller.user;
  // Without the parameter whoever the token is for may renew it.
  request.has_renewer = true;
  request.renewer =
      query.first("renewer").value_or(caller.do_as.empty() ? caller.user : caller.do_as_short);
  request.service = query.first("service").value_or(std::string_view());
  auto token = tokens.issue(request, approval);
  if (!token.ok()) return failure(std::move(token).error(), 403);
  Answer answer;
  answer.secret_text = hadoop::delegation_token_json(token->view());
  return answer;
}

}  // namespace

const TokenOperation* find_token_operation(std::string_view method, const Query& query) {
  if (method == "OPTIONS") return nullptr;
  const auto wanted = query.first("op");
  if (!wanted.has_value()) return nullptr;
  for (const TokenOperation& operation : kOperations)
    if (wanted->size() == operation.name.size() &&
        strncasecmp(wanted->data(), operation.name.data(), wanted->size()) == 0)
      return &operation;
  return nullptr;
}

std::optional<Answer> token_operation_mistake(const TokenOperation& operation,
                                              std::string_view method) {
  if (method == operation.method) return std::nullopt;
  return page(400, "Wrong HTTP method [" + std::string(method) + "] for operation [" +
                       std::string(operation.name) + "], it should be [" +
                       std::string(operation.method) + "]");
}

Answer run_token_operation(TokenManager& tokens, const TokenOperation& operation,
                           const Query& query, const TokenCaller* caller,
                           const TokenManager::Approval& approval) {
  const auto token = query.first("token");
  if (operation.op != TokenOp::get && !token.has_value())
    return page(400,
                "Operation [" + std::string(operation.name) + "] requires the parameter [token]");
  const std::string nobody;
  const std::string& name = caller == nullptr       ? nobody
                            : caller->do_as.empty() ? caller->user
                                                    : caller->do_as_short;
  switch (operation.op) {
    case TokenOp::get:
      if (caller != nullptr) return issue(tokens, query, *caller, approval);
      break;
    case TokenOp::renew: {
      if (caller == nullptr) break;
      auto until = tokens.renew(*token, name, approval);
      if (!until.ok()) return failure(std::move(until).error(), 403);
      return Answer::json(hadoop::renew_date_json(*until));
    }
    case TokenOp::cancel: {
      auto cancelled = tokens.cancel(*token, name, approval);
      if (!cancelled.ok())
        return failure(std::move(cancelled).error(), 404,
                       "Invalid delegation token, cannot cancel");
      return Answer::empty();
    }
  }
  return error_answer(Error(ErrorKind::internal, "a token operation without a caller"));
}

}  // namespace kms::rest
