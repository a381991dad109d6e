// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/uses.h"

#include <jansson.h>

#include <algorithm>

#include "core/clock.h"
#include "hadoop/wire_json.h"

namespace kms::pkcs11 {
namespace {

constexpr std::int64_t kMovedMs = 60'000;
constexpr std::int64_t kPauseMs = 2000;  // from one look at the file to the next
constexpr json_int_t kFormat = 1;

using Json = hadoop::JsonPtr;

std::string text_of(const LastUses& uses) {
  const Json root(json_object());
  json_t* list = json_array();
  for (const auto& [name, at] : uses) {
    json_t* use = json_object();
    json_object_set_new(use, "version", json_stringn(name.data(), name.size()));
    json_object_set_new(use, "ms", json_integer(at));
    json_array_append_new(list, use);
  }
  json_object_set_new(root.get(), "format", json_integer(kFormat));
  json_object_set_new(root.get(), "uses", list);
  std::string out(json_dumpb(root.get(), nullptr, 0, JSON_INDENT(1)), '\0');
  json_dumpb(root.get(), out.data(), out.size(), JSON_INDENT(1));
  return out + "\n";
}

void take_latest(LastUses& into, const LastUses& from) {
  for (const auto& [name, at] : from) {
    std::int64_t& known = into[name];
    known = std::max(known, at);
  }
}

// A use of an earlier key of this name says nothing of this one.
void drop_strangers(LastUses& uses, const State& state) {
  LastUses kept;
  for (const auto& [name, record] : state.keys)
    for (const TokenVersionPtr& version : record.versions)
      if (const auto it = uses.find(version->version_name);
          it != uses.end() && it->second >= version->created_ms)
        kept.insert(*it);
  uses = std::move(kept);
}

}  // namespace

std::string uses_path(const std::string& metadata_file) {
  return metadata_file + ".uses";
}

Result<LastUses> load_uses(const std::string& path) {
  auto file = load_file(path);
  if (!file.ok()) return std::move(file).error();
  LastUses uses;
  if (!file->id.exists) return uses;
  const Json root(json_loadb(reinterpret_cast<const char*>(file->data.data()), file->data.size(),
                             JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, nullptr));
  const json_t* list = json_object_get(root.get(), "uses");
  bool good =
      json_integer_value(json_object_get(root.get(), "format")) == kFormat && json_is_array(list);
  for (std::size_t i = 0; good && i < json_array_size(list); ++i) {
    const json_t* name = json_object_get(json_array_get(list, i), "version");
    const json_t* at = json_object_get(json_array_get(list, i), "ms");
    good = json_is_string(name) && json_is_integer(at);
    if (good) uses[{json_string_value(name), json_string_length(name)}] = json_integer_value(at);
  }
  if (!good) return Error(ErrorKind::corrupt, path + ": the dates of last use cannot be read");
  return uses;
}

void Uses::note(const std::string& version_name) {
  const std::int64_t now = now_ms();
  const std::lock_guard hold(mutex_);
  used_[version_name] = now;
}

bool Uses::has_news(const LastUses& used, const LastUses& known, bool all) {
  return std::any_of(used.begin(), used.end(), [&](const auto& use) {
    const auto found = known.find(use.first);
    return found == known.end() || use.second > found->second + (all ? 0 : kMovedMs);
  });
}

bool Uses::due(bool all) {
  const std::lock_guard hold(mutex_);
  return (all || steady_ms() >= next_ms_) && has_news(used_, known_, all);
}

Result<void> Uses::write(const std::string& path, const State& state, bool all) {
  auto uses = load_uses(path);
  if (!uses.ok() && uses.error().kind != ErrorKind::corrupt) return std::move(uses).error();
  LastUses known = uses.ok() ? std::move(*uses) : LastUses(), mine;
  {
    const std::lock_guard hold(mutex_);
    mine = used_;
  }
  const LastUses asked = mine;
  drop_strangers(mine, state);
  if (has_news(mine, known, all)) {
    take_latest(known, mine);
    drop_strangers(known, state);
    auto replaced =
        replace_file(path, as_bytes(text_of(known)), owner_, [] { return Result<void>(); });
    if (!replaced.ok()) return std::move(replaced).error();
  }
  const std::lock_guard hold(mutex_);
  known_ = std::move(known);
  // What the state does not have any more is not asked for again and again.
  for (const auto& [name, at] : asked)
    if (known_.count(name) == 0) used_.erase(name);
  return {};
}

void Uses::save(MetadataFile& metadata, bool all) {
  if (!due(all)) return;
  WriteLock::Turn turn(metadata.lock(), all ? 1000 : 0);
  if (!turn.take().ok()) return;
  {
    const std::lock_guard hold(mutex_);
    next_ms_ = steady_ms() + kPauseMs;
  }
  const std::string path = uses_path(metadata.path());
  auto written = write(path, *metadata.latest(), all);
  if (!written.ok() && !failed_)
    logger_.log(LogLevel::warn, "KMS0173",
                path + ": the dates of last use cannot be written: " + written.error().message);
  failed_ = !written.ok();
}

}  // namespace kms::pkcs11
