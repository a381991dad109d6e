// SPDX-License-Identifier: Apache-2.0
#include "audit/chain_mark.h"

#include <algorithm>
#include <charconv>

#include "core/hex.h"
#include "crypto/hmac.h"
#include "crypto/sha256.h"

namespace kms {
namespace {

constexpr std::string_view kJavaMark = " chain=";
constexpr std::string_view kJsonMark = ",\"chain\":\"";
constexpr std::string_view kJsonEnd = "\"}";

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Takes size characters off the end.
std::string_view take(std::string_view& text, std::size_t size) {
  const std::string_view end = text.substr(text.size() - std::min(size, text.size()));
  text.remove_suffix(end.size());
  return end;
}

bool take(std::string_view& text, std::string_view wanted) {
  if (!text.ends_with(wanted)) return false;
  text.remove_suffix(wanted.size());
  return true;
}

}  // namespace

std::optional<ChainMark> parse_chain_mark(std::string_view line) {
  const bool json = take(line, kJsonEnd);
  ChainMark mark;
  mark.hash = take(line, std::tuple_size_v<ChainHash>);
  mark.hashed = line;
  if (mark.hash.size() != std::tuple_size_v<ChainHash> || !is_hex(mark.hash)) return std::nullopt;
  if (!take(line, ":") || line.empty()) return std::nullopt;
  const char flag = take(line, 1).front();
  if (flag != '-' && flag != 'r') return std::nullopt;
  mark.resumes = flag == 'r';
  if (!take(line, ":")) return std::nullopt;
  const std::size_t colon = line.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view digits = line.substr(colon + 1);
  const auto [end, problem] =
      std::from_chars(digits.data(), digits.data() + digits.size(), mark.number);
  if (problem != std::errc() || end != digits.data() + digits.size() || mark.number == 0 ||
      digits.front() == '0')
    return std::nullopt;
  line = line.substr(0, colon);
  mark.id = take(line, kChainIdSize);
  if (mark.id.size() != kChainIdSize || !is_hex(mark.id)) return std::nullopt;
  if (!take(line, json ? kJsonMark : kJavaMark)) return std::nullopt;
  return mark;
}

Result<ChainHash> chain_hash(std::string_view previous, std::string_view hashed, ByteView key) {
  thread_local std::string text;
  text.assign(previous).append(hashed);
  std::array<std::uint8_t, 32> raw;
  if (key.empty()) {
    auto digest = sha256(as_bytes(text));
    if (!digest.ok()) return std::move(digest).error();
    raw = *digest;
  } else {
    auto mac = hmac_sha256(key, as_bytes(text));
    if (!mac.ok()) return std::move(mac).error();
    raw = *mac;
  }
  ChainHash hash;
  write_hex(raw, hash.data());
  return hash;
}

Result<ChainHash> append_chain_mark(std::string& out, std::size_t start, AuditFormat format,
                                    std::string_view id, std::uint64_t number, bool resumes,
                                    std::string_view previous, ByteView key) {
  if (format == AuditFormat::json) {
    out.pop_back();  // the brace
    out += kJsonMark;
  } else {
    out += kJavaMark;
  }
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(id).append(":").append(digits, end).append(resumes ? ":r:" : ":-:");
  auto hash = chain_hash(previous, std::string_view(out).substr(start), key);
  if (!hash.ok()) return hash;
  out += text_of(*hash);
  if (format == AuditFormat::json) out += kJsonEnd;
  return hash;
}

bool is_chain_line(std::string_view line, std::string_view op) {
  constexpr std::size_t kJavaTime = sizeof "2026-11-24 11:42:21,319 " - 1;
  constexpr std::string_view kJson = "{\"time\":\"2026-11-24T11:42:21.319Z";
  constexpr std::string_view kJsonOp = "\",\"status\":\"OK\",\"operation\":\"";
  const bool json = line.starts_with('{');
  line.remove_prefix(std::min(line.size(), json ? kJson.size() : kJavaTime));
  const std::string_view before = json ? kJsonOp : std::string_view("OK[op=");
  if (!line.starts_with(before)) return false;
  line.remove_prefix(before.size());
  return line.starts_with(op) && line.substr(op.size()).starts_with(json ? '"' : ']');
}

std::string_view chain_line_value(std::string_view line, std::string_view name) {
  for (std::size_t at = 0; (at = line.find(name, at)) != std::string_view::npos; ++at) {
    if (at == 0 || (line[at - 1] != ' ' && line[at - 1] != '"')) continue;
    std::string_view rest = line.substr(at + name.size());
    if (!rest.starts_with(':')) continue;
    rest.remove_prefix(1);
    return rest.substr(0, rest.find_first_of(" \""));
  }
  return {};
}

}  // namespace kms
