// SPDX-License-Identifier: Apache-2.0
#include "audit_line.h"

#include <algorithm>
#include <array>
#include <utility>

#include "output.h"

namespace kmsctl {
namespace {

constexpr std::string_view kTimeForm = "dddd-dd-dd dd:dd:dd,ddd ";
constexpr std::string_view kKey = ", key=", kUser = ", user=", kCount = ", accessCount=";

constexpr std::array<std::pair<std::string_view, kms::AuditStatus>, 4> kStatuses = {{
    {"OK", kms::AuditStatus::ok},
    {"UNAUTHORIZED", kms::AuditStatus::unauthorized},
    {"UNAUTHENTICATED", kms::AuditStatus::unauthenticated},
    {"ERROR", kms::AuditStatus::error},
}};

bool has_form(std::string_view text, std::string_view form) {
  return text.size() >= form.size() &&
         std::equal(form.begin(), form.end(), text.begin(), [](char want, char got) {
           return want == 'd' ? got >= '0' && got <= '9' : want == got;
         });
}

bool take(std::string_view& text, std::string_view start) {
  if (!text.starts_with(start)) return false;
  text.remove_prefix(start.size());
  return true;
}

// What stands before the first of the marks; all of it when none is there.
std::string_view take_until(std::string_view& text, std::initializer_list<std::string_view> marks) {
  std::size_t end = text.size();
  for (const std::string_view mark : marks) end = std::min(end, text.find(mark));
  const std::string_view taken = text.substr(0, end);
  text.remove_prefix(taken.size());
  return taken;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size()))
    ++n;
  return n;
}

// Values that were too long for a line have this in the middle.
bool was_cut(std::string_view text) {
  return text.find(" bytes left out]...") != std::string_view::npos;
}

// "op=…, key=…, user=…, accessCount=…" of the brackets.
void parse_parts(std::string_view parts, AuditLine& out) {
  const std::string_view all = parts;
  if (take(parts, "op=")) out.op = take_until(parts, {kKey, kUser, kCount});
  if (take(parts, kKey) || take(parts, "key=")) out.key = take_until(parts, {kUser, kCount});
  if (take(parts, kUser) || take(parts, "user=")) out.user = take_until(parts, {kCount});
  out.doubtful = out.user.empty() || count_of(all, kUser) > 1 || count_of(all, kKey) > 1 ||
                 all.find('\\') != std::string_view::npos || was_cut(all);
}

std::optional<kms::AuditStatus> status_of(std::string_view name) {
  for (const auto& [known, status] : kStatuses)
    if (known == name) return status;
  return std::nullopt;
}

std::optional<AuditLine> parse_json(std::string_view line) {
  const JsonPtr json(json_loadb(line.data(), line.size(), 0, nullptr));
  const auto text = [&](const char* name) -> std::string {
    const json_t* value = json_object_get(json.get(), name);
    return json_is_string(value) ? std::string(json_string_value(value), json_string_length(value))
                                 : std::string();
  };
  AuditLine out;
  out.time = text("time");
  const auto status = status_of(text("status"));
  if (out.time.empty() || !status) return std::nullopt;
  out.status = *status;
  out.op = text("operation");
  out.key = text("key");
  out.user = text("user");
  out.real_user = text("realUser");
  out.extra = text("detail");
  out.doubtful = !out.op.empty() && (out.user.empty() || was_cut(out.key) || was_cut(out.user) ||
                                     was_cut(out.real_user));
  return out;
}

}  // namespace

std::optional<AuditLine> parse_audit_line(std::string_view line) {
  if (line.starts_with('{')) return parse_json(line);
  if (!has_form(line, kTimeForm)) return std::nullopt;
  AuditLine out;
  out.time = line.substr(0, kTimeForm.size() - 1);
  line.remove_prefix(kTimeForm.size());
  for (const auto& [name, status] : kStatuses) {
    std::string_view rest = line;
    if (!take(rest, name) || rest.empty() || (rest[0] != '[' && rest[0] != ' ')) continue;
    out.status = status;
    if (rest[0] == ' ') {
      out.extra = rest.substr(1);
      return out;
    }
    std::size_t end = rest.find("] ");
    // An editor may have taken the blank at the end away.
    if (end == std::string_view::npos && rest.ends_with(']')) end = rest.size() - 1;
    if (end == std::string_view::npos) return std::nullopt;
    parse_parts(rest.substr(1, end - 1), out);
    out.extra = rest.substr(std::min(rest.size(), end + 2));
    return out;
  }
  return std::nullopt;
}

}  // namespace kmsctl
