// SPDX-License-Identifier: Apache-2.0
// store backup, store restore.
#include <optional>

#include "keystore/postgres/backup.h"
#include "progress.h"
#include "secret_file.h"
#include "store_commands.h"

namespace kmsctl {
namespace {

json_t* number(std::int64_t n) {
  return json_integer(static_cast<json_int_t>(n));
}

// A bar for each thing that is done, one after the other.
class Bars {
 public:
  explicit Bars(const Output& out) : out_(out) {}
  void step(std::string_view what, std::int64_t done, std::int64_t all) {
    if (what != what_) {
      what_ = what;
      bar_.reset();
      bar_.emplace(out_, what_, static_cast<std::size_t>(all));
    }
    bar_->at(static_cast<std::size_t>(done));
  }

 private:
  const Output& out_;
  std::string what_;
  std::optional<Progress> bar_;
};

void names(Output& out, const char* member, const std::vector<std::string>& all) {
  json_t* list = json_array();
  for (const std::string& one : all) json_array_append_new(list, json_text(one));
  out.set(member, list);
}

void describe(const kms::BackupTotals& backup, Output& out) {
  out.set("backup", backup.id);
  out.set("source", backup.source);
  out.set("made", number(backup.made_ms));
  out.set("keys", number(backup.keys));
  out.set("deleted", number(backup.deleted));
  out.set("versions", number(backup.versions));
  names(out, "left_out", backup.left_out);
}

std::string counts(const kms::BackupTotals& backup) {
  return std::to_string(backup.keys - backup.deleted) + " keys, " + std::to_string(backup.deleted) +
         " deleted keys, " + std::to_string(backup.versions) + " versions";
}

}  // namespace

int run_store_backup(Invocation& call) {
  const std::vector<std::string> certificates = call.all("to");
  if (certificates.empty())
    return call.usage_error("--to is needed: the certificate of who may open the backup");
  auto access = store_access(call, 1);
  if (!access.ok()) return call.fail(access.error());
  const std::string& file = call.arguments.front();
  std::optional<Bars> bars(std::in_place, call.out);
  auto done = kms::backup_trustee_store(
      access->uri, access->trustee, file, certificates,
      [&](std::string_view what, std::int64_t at, std::int64_t all) { bars->step(what, at, all); });
  bars.reset();
  if (!done.ok()) return call.fail(done.error());
  call.out.set("file", file);
  describe(*done, call.out);
  for (const std::string& what : done->left_out)
    call.out.error("not in the backup: " + shown(what));
  call.out.line(shown(file) + ": " + counts(*done) + ", backup " + done->id);
  return done->left_out.empty() ? kOk : kNegative;
}

int run_store_restore(Invocation& call) {
  if (call.get("key").empty())
    return call.usage_error("--key is needed: the private key of one of the recipients");
  auto access = store_access(call, 1);
  if (!access.ok()) return call.fail(access.error());
  kms::RestoreOptions options;
  options.file = call.arguments.front();
  options.key_file = call.get("key");
  options.merge = call.has("merge");
  kms::Secret password;
  if (call.has("key-password-file")) {
    auto read = read_secret_file(call.get("key-password-file"));
    if (!read.ok()) return call.fail(read.error());
    password = std::move(*read);
    options.key_password = &password;
  }
  std::optional<Bars> bars(std::in_place, call.out);
  auto done = kms::restore_trustee_store(
      access->uri, access->trustee, options,
      [&](std::string_view what, std::int64_t at, std::int64_t all) { bars->step(what, at, all); });
  bars.reset();
  if (!done.ok()) return call.fail(done.error());
  call.out.set("store", access->uri);
  describe(done->backup, call.out);
  call.out.set("restored", number(done->restored));
  call.out.set("already_there", number(done->already_there));
  call.out.set("verified", number(done->verified));
  names(call.out, "different", done->different);
  for (const std::string& what : done->backup.left_out)
    call.out.warning("was not in the backup: " + shown(what));
  for (const std::string& name : done->different)
    call.out.warning(shown(name) + ": left alone, another key of this name is there");
  call.out.line("backup " + shown(done->backup.id) + " of " + shown(done->backup.source) + ", " +
                local_time(done->backup.made_ms) + ": " + counts(done->backup));
  call.out.line(std::to_string(done->restored) + " restored, " +
                std::to_string(done->already_there) + " already there, " +
                std::to_string(done->different.size()) + " different");
  call.out.line("compared: " + std::to_string(done->verified) +
                " keys of the store are as in the backup");
  const bool whole = done->different.empty() && done->backup.left_out.empty();
  return whole ? kOk : kNegative;
}

}  // namespace kmsctl
