// SPDX-License-Identifier: Apache-2.0
#include "keystore/migration_report.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/clock.h"

namespace kms {
namespace {

using hadoop::JsonPtr;

constexpr std::string_view kFormat = "mod_kms migration report";
constexpr int kVersion = 1;

std::string text(const json_t* object, const char* name) {
  const json_t* value = json_object_get(object, name);
  return json_is_string(value) ? std::string(hadoop::text_of(value)) : std::string();
}

std::string compact(const json_t* json) {
  const std::unique_ptr<char, decltype(&std::free)> out(json_dumps(json, JSON_COMPACT), &std::free);
  return out != nullptr ? out.get() : std::string();
}

Error no_report(const std::string& file, const std::string& why) {
  return Error(ErrorKind::configuration, file + ": " + why);
}

json_t* entry(const std::string& name, const KeyMigration& key, const MadeKeys::Digests& made) {
  json_t* one = json_object();
  hadoop::set_text(one, "name", name);
  hadoop::set_text(one, "state", state_name(key.state));
  if (!key.text.empty()) hadoop::set_text(one, "text", key.text);
  if (const auto mine = made.find(name); mine != made.end())
    hadoop::set_text(one, "made", mine->second);
  if (key.from != nullptr) json_object_set(one, "from", key.from.get());
  if (key.to != nullptr) json_object_set(one, "to", key.to.get());
  return one;
}

}  // namespace

std::string_view state_name(KeyMigration::State state) {
  constexpr std::string_view names[] = {"copied",        "updated",      "removed",
                                        "would_copy",    "would_update", "would_remove",
                                        "already_there", "different",    "failed"};
  return names[static_cast<std::size_t>(state)];
}

Result<MigrationReport> MigrationReport::open(const std::string& file, const std::string& from,
                                              const std::string& to, bool to_write) {
  MigrationReport made(from, to);
  made.file_ = file;
  KMS_TRY(made.read());
  if (made.from_ != from || made.to_ != to)
    return no_report(file, "it is of a migration from " + made.from_ + " to " + made.to_);
  KMS_TRY(made.read_journal());
  if (to_write) KMS_TRY(made.open_journal());
  return made;
}

Result<MigrationReport> MigrationReport::load(const std::string& file) {
  MigrationReport made({}, {});
  made.file_ = file;
  KMS_TRY(made.read());
  KMS_TRY(made.read_journal());
  if (made.to_.empty()) return no_report(file, "there is no report of a migration");
  KMS_TRY(made.open_journal());
  return made;
}

Result<void> MigrationReport::open_journal() {
  journal_ = Fd(::open(journal().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!journal_.valid()) return io_error("write", journal(), errno);
  return {};
}

Result<void> MigrationReport::read() {
  auto there = stat_file(file_);
  if (!there.ok()) return std::move(there).error();
  if (!there->exists) return {};
  auto loaded = load_file(file_);
  if (!loaded.ok()) return std::move(loaded).error();
  const JsonPtr json(json_loadb(reinterpret_cast<const char*>(loaded->data.data()),
                                loaded->data.size(), JSON_ALLOW_NUL, nullptr));
  if (text(json.get(), "format") != kFormat)
    return no_report(file_, "it is no report of a migration");
  from_ = text(json.get(), "from");
  to_ = text(json.get(), "to");
  const json_t* keys = json_object_get(json.get(), "keys");
  for (std::size_t i = 0; i < json_array_size(keys); ++i) {
    const json_t* one = json_array_get(keys, i);
    if (std::string digest = text(one, "made"); !digest.empty())
      made_[text(one, "name")] = std::move(digest);
  }
  return {};
}

// A last line that is cut is of a key that was not written.
Result<void> MigrationReport::read_journal() {
  auto there = stat_file(journal());
  if (!there.ok()) return std::move(there).error();
  if (!there->exists) return {};
  auto loaded = load_file(journal());
  if (!loaded.ok()) return std::move(loaded).error();
  std::string_view rest = as_text(loaded->data);
  for (std::size_t end = 0; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
    const JsonPtr line(json_loadb(rest.data(), end, JSON_ALLOW_NUL, nullptr));
    if (line == nullptr) continue;
    if (const std::string to = text(line.get(), "to"); !to.empty()) {
      if (!to_.empty() && (to != to_ || text(line.get(), "from") != from_))
        return no_report(journal(),
                         "it is of a migration from " + text(line.get(), "from") + " to " + to);
      from_ = text(line.get(), "from");
      to_ = to;
    }
    const std::string name = text(line.get(), "name"), digest = text(line.get(), "made");
    if (name.empty()) continue;
    if (digest.empty())
      made_.erase(name);
    else
      made_[name] = digest;
  }
  return {};
}

Result<void> MigrationReport::append(const std::string& name, const std::string* digest) {
  if (!journal_.valid()) return {};
  const JsonPtr line(json_object());
  hadoop::set_text(line.get(), "name", name);
  if (digest != nullptr) hadoop::set_text(line.get(), "made", *digest);
  hadoop::set_text(line.get(), "from", from_);
  hadoop::set_text(line.get(), "to", to_);
  KMS_TRY(write_all(journal_.get(), as_bytes(compact(line.get()) + "\n"), journal()));
  if (::fdatasync(journal_.get()) != 0) return io_error("sync", journal(), errno);
  return {};
}

Result<void> MigrationReport::note(const std::string& name, const std::string& digest) {
  KMS_TRY(append(name, &digest));
  made_[name] = digest;
  return {};
}

Result<void> MigrationReport::forget(const std::string& name) {
  KMS_TRY(append(name, nullptr));
  made_.erase(name);
  return {};
}

Result<void> MigrationReport::write(const Ending& ending) {
  if (file_.empty()) return {};
  const JsonPtr json(json_object());
  hadoop::set_text(json.get(), "format", kFormat);
  json_object_set_new(json.get(), "version", json_integer(kVersion));
  hadoop::set_text(json.get(), "from", from_);
  hadoop::set_text(json.get(), "to", to_);
  json_object_set_new(json.get(), "written", json_integer(now_ms()));
  json_object_set_new(json.get(), "passes", json_integer(ending.passes));
  json_object_set_new(json.get(), "complete", json_boolean(ending.complete));
  json_t* keys = json_array();
  json_object_set_new(json.get(), "keys", keys);
  for (const auto& [name, key] : ending.keys) json_array_append_new(keys, entry(name, key, made_));
  KeyMigration earlier;  // of a run that did not get to its end
  earlier.state = KeyMigration::State::copied;
  for (const auto& [name, digest] : made_)
    if (ending.keys.count(name) == 0) json_array_append_new(keys, entry(name, earlier, made_));
  json_t* deleted = json_array();
  json_object_set_new(json.get(), "deleted_in_source", deleted);
  for (const DeletedKey& key : ending.deleted) {
    json_t* one = json_object();
    hadoop::set_text(one, "name", key.metadata->name);
    json_object_set_new(one, "deleted", json_integer(key.deleted_ms));
    json_array_append_new(deleted, one);
  }
  json_t* not_copied = json_array();
  json_object_set_new(json.get(), "not_copied", not_copied);
  for (const std::string& what : ending.not_copied)
    json_array_append_new(not_copied, json_stringn(what.data(), what.size()));
  auto replaced = replace_file(file_, as_bytes(hadoop::dump_json(json.get())), {},
                               []() -> Result<void> { return {}; });
  if (!replaced.ok()) return std::move(replaced).error();
  journal_ = Fd();
  return remove_file(journal());
}

}  // namespace kms
