// SPDX-License-Identifier: Apache-2.0
// migrate: the keys of one keystore into another, without a server.
#include <optional>

#include "keystore/jceks/verify.h"
#include "keystore/migrate.h"
#include "keystore_access.h"
#include "keystore_commands.h"
#include "progress.h"

namespace kmsctl {
namespace {

using State = kms::KeyMigration::State;

struct Ends {
  KeystoreAccess from, to;
};

Result<Ends> ends_of(const Invocation& call) {
  auto conf = conf_of(call);
  if (!conf.ok()) return std::move(conf).error();
  const std::string password_file = call.get("from-password-file");
  auto from = keystore_access(*conf, call.get("from"), password_file);
  if (!from.ok()) return std::move(from).error();
  auto to = keystore_access(*conf, call.get("to"), call.get("to-password-file", password_file));
  if (!to.ok()) return std::move(to).error();
  return Ends{std::move(*from), std::move(*to)};
}

std::string_view state_text(State state) {
  constexpr std::string_view names[] = {"copied", "would be copied", "already there",
                                        "another key of this name is there, it differs in",
                                        "failed"};
  return names[static_cast<std::size_t>(state)];
}

std::string_view state_name(State state) {
  constexpr std::string_view names[] = {"copied", "would_copy", "already_there", "different",
                                        "failed"};
  return names[static_cast<std::size_t>(state)];
}

struct Totals {
  std::size_t of[5] = {};
  std::size_t operator[](State state) const { return of[static_cast<std::size_t>(state)]; }
};

Totals report(const std::vector<kms::KeyMigration>& keys, Output& out) {
  Totals totals;
  json_t* list = json_array();
  for (const kms::KeyMigration& key : keys) {
    ++totals.of[static_cast<std::size_t>(key.state)];
    const std::string text = key.text.empty() ? "" : " " + shown(key.text);
    out.line(shown(key.name) + ": " + std::string(state_text(key.state)) + text);
    json_t* one = json_object();
    json_object_set_new(one, "name", json_text(key.name));
    json_object_set_new(one, "state", json_text(state_name(key.state)));
    if (!key.text.empty()) json_object_set_new(one, "text", json_text(key.text));
    json_array_append_new(list, one);
  }
  out.set("keys", list);
  return totals;
}

// Both sides opened anew and compared, so that what counts is what the disk holds.
Result<std::size_t> verify(const Ends& ends, const std::vector<kms::KeyMigration>& keys,
                           kms::Logger& logger, Output& out) {
  auto from = open_keystore(ends.from, logger, true);
  if (!from.ok()) return std::move(from).error();
  auto to = open_keystore(ends.to, logger, true);
  if (!to.ok()) return std::move(to).error();
  std::size_t differing = 0, same = 0;
  Progress progress(out, "compared", keys.size());
  for (const kms::KeyMigration& key : keys) {
    progress.step();
    if (key.state != State::copied && key.state != State::already_there) continue;
    auto what = kms::compare_key(**from, **to, key.name);
    const std::string text = what.ok() ? *what : what.error().message;
    ++(text.empty() ? same : differing);
    if (!text.empty()) out.error(shown(key.name) + ": the two sides differ: " + shown(text));
  }
  out.line("compared: " + std::to_string(same) + " keys are the same on both sides, " +
           std::to_string(differing) + " differ");
  out.set("verified", json_integer(static_cast<json_int_t>(same)));
  return differing;
}

// What the list of keys of a JCEKS file does not have, and so is not copied.
void warn_of_unlisted(const KeystoreAccess& from, Output& out) {
  if (from.path.empty()) return;
  auto found = kms::jceks::inspect(from.path, from.password);
  if (!found.ok()) return;
  for (const auto& finding : found->findings)
    if (finding.code == "name-with-at" || finding.code == "version-without-metadata" ||
        finding.code == "version-without-number" || finding.code == "foreign-entry")
      out.warning("not copied: '" + shown(finding.entry) + "' " + finding.text);
}

}  // namespace

int run_migrate(Invocation& call) {
  if (call.get("from").empty() || call.get("to").empty())
    return call.usage_error("--from and --to are needed");
  auto ends = ends_of(call);
  if (!ends.ok()) return call.fail(ends.error());
  if (ends->from.uri == ends->to.uri) return call.usage_error("--from and --to are the same");
  const bool dry_run = call.has("dry-run");
  StderrLogger logger(call.out);
  auto from = open_keystore(ends->from, logger, true);
  if (!from.ok()) return call.fail(from.error());
  auto to = open_keystore(ends->to, logger, dry_run);
  if (!to.ok()) return call.fail(to.error());
  warn_of_unlisted(ends->from, call.out);

  std::optional<Progress> bar;
  auto keys = kms::migrate_keys(**from, **to, dry_run, [&](std::size_t total) {
    if (!bar) bar.emplace(call.out, "keys", total);
    bar->step();
  });
  bar.reset();
  if (!keys.ok()) return call.fail(keys.error());
  const Totals totals = report(*keys, call.out);
  call.out.line(std::to_string(keys->size()) +
                " keys: " + std::to_string(totals[dry_run ? State::would_copy : State::copied]) +
                (dry_run ? " would be copied, " : " copied, ") +
                std::to_string(totals[State::already_there]) + " already there, " +
                std::to_string(totals[State::different]) + " different, " +
                std::to_string(totals[State::failed]) + " failed");
  std::size_t differing = 0;
  if (!dry_run) {
    auto verified = verify(*ends, *keys, logger, call.out);
    if (!verified.ok()) return call.fail(verified.error());
    differing = *verified;
  }
  if (totals[State::failed] > 0 || differing > 0) return kFailed;
  return totals[State::different] > 0 ? kNegative : kOk;
}

}  // namespace kmsctl
