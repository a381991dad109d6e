// SPDX-License-Identifier: Apache-2.0
// token show: what a delegation token says of itself. Its password is never shown.
#include "token_command.h"

#include "auth/tokens/identifier.h"
#include "core/clock.h"
#include "secret_file.h"

namespace kmsctl {
namespace {

// The urlString; also out of the server's answer {"Token":{"urlString":"…"}}.
kms::Secret url_string(kms::Secret text) {
  if (text.empty() || text.view().front() != '{') return text;
  const auto view = kms::as_text(text.view());
  JsonPtr json(json_loadb(view.data(), view.size(), 0, nullptr));
  const char* found =
      json_string_value(json_object_get(json_object_get(json.get(), "Token"), "urlString"));
  return found != nullptr ? kms::Secret(std::string_view(found)) : std::move(text);
}

Result<kms::Secret> given_token(const Invocation& call) {
  const std::string argument = call.arguments.empty() ? "-" : call.arguments.front();
  if (argument == "-") return read_secret_file("-");
  if (argument.front() == '@') return read_secret_file(argument.substr(1));
  return kms::Secret(std::string_view(argument));
}

}  // namespace

int run_token_show(Invocation& call) {
  auto text = given_token(call);
  if (!text.ok()) return call.fail(text.error());
  const kms::Secret url = url_string(std::move(*text));
  auto token = kms::WireToken::decode(kms::as_text(url.view()));
  if (!token.ok())
    return call.fail(kNegative, "this is no delegation token: " + token.error().message);
  auto identifier = kms::TokenIdentifier::decode(token->identifier);
  if (!identifier.ok())
    return call.fail(kNegative,
                     "the token's identifier cannot be read: " + identifier.error().message);
  const kms::TokenIdentifier& id = *identifier;
  const bool over = id.max_ms < kms::now_ms();
  const auto or_dash = [](const std::string& t) { return t.empty() ? "-" : shown(t); };
  Table table;
  table.row({"kind", or_dash(token->kind)});
  table.row({"service", or_dash(token->service)});
  table.row({"owner", or_dash(id.owner)});
  table.row({"renewer", id.renewer.empty() ? "- (cannot be renewed)" : shown(id.renewer)});
  table.row({"real user", or_dash(id.real_user)});
  table.row({"issued", local_time(id.issue_ms)});
  table.row({"ends at", local_time(id.max_ms) + (over ? ", which is over" : " at the latest")});
  table.row({"sequence number", std::to_string(id.sequence)});
  table.row({"master key", std::to_string(id.master_key_id)});
  table.row({"password", std::to_string(token->password.size()) + " bytes, not shown"});
  table.print(call.out);
  call.out.set("kind", token->kind);
  call.out.set("service", token->service);
  call.out.set("owner", id.owner);
  call.out.set("renewer", id.renewer);
  call.out.set("real_user", id.real_user);
  call.out.set("issue_ms", json_integer(id.issue_ms));
  call.out.set("max_ms", json_integer(id.max_ms));
  call.out.set("over", json_boolean(over));
  call.out.set("sequence", json_integer(id.sequence));
  call.out.set("master_key_id", json_integer(id.master_key_id));
  return over ? kNegative : kOk;
}

}  // namespace kmsctl
