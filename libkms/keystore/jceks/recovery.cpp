// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/recovery.h"

#include "core/clock.h"
#include "core/file_io.h"

namespace kms::jceks {
namespace {

enum class State { absent, good, damaged, wrong_password };

struct Candidate {
  std::string path;
  State state = State::absent;
  SnapshotPtr snapshot;
  std::string why;
};

Error refusal(const Candidate& c, const std::string& advice = {}) {
  const auto kind =
      c.state == State::wrong_password ? ErrorKind::wrong_password : ErrorKind::corrupt;
  return Error(kind, "Can't load keystore " + c.path + ": " + c.why + advice);
}

Result<Candidate> examine(const std::string& path, const Secret& password) {
  Candidate c;
  c.path = path;
  auto file = load_file(path);
  if (!file.ok()) return std::move(file).error();
  if (!file->id.exists) return c;
  auto parsed = parse_snapshot(*file, password, nullptr);
  if (parsed.ok()) {
    c.state = State::good;
    c.snapshot = std::move(*parsed);
    return c;
  }
  if (parsed.error().kind == ErrorKind::internal) return std::move(parsed).error();
  c.state =
      parsed.error().kind == ErrorKind::wrong_password ? State::wrong_password : State::damaged;
  c.why = file->data.empty() ? "the file is empty" : parsed.error().message;
  return c;
}

Result<Recovery> with_keystore(const Candidate& now, const Candidate& fresh, Candidate old) {
  if (fresh.state != State::absent)
    return Error(ErrorKind::corrupt,
                 "Keystore not loaded due to some inconsistency ('" + now.path + "' and '" +
                     fresh.path +
                     "' should not exist together)!! Move one of them away: the one that "
                     "`keytool -list -storetype jceks` cannot read, or else the older one");
  switch (now.state) {
    case State::good:
      if (old.state == State::absent) return Recovery{now.snapshot, {}};
      return Recovery{now.snapshot, {{old.path, {}}}};
    case State::damaged:
      if (old.state == State::absent) return refusal(now);
      if (old.state != State::good) return refusal(old, " (and " + now.path + ": " + now.why + ")");
      return Recovery{
          old.snapshot,
          {{now.path, now.path + "_CORRUPTED_" + std::to_string(now_ms())}, {old.path, now.path}}};
    default:
      return refusal(now);
  }
}

Result<Recovery> without_keystore(const std::string& path, const Candidate& fresh,
                                  const Candidate& old) {
  if (fresh.state == State::good) {
    Recovery out{fresh.snapshot, {{fresh.path, path}}};
    if (old.state != State::absent) out.steps.push_back({old.path, {}});
    return out;
  }
  if (fresh.state == State::wrong_password) return refusal(fresh);
  if (old.state == State::good) {
    // The damaged one goes first: a crash in between must not leave it beside the keystore.
    Recovery out{old.snapshot, {}};
    if (fresh.state != State::absent) out.steps.push_back({fresh.path, {}});
    out.steps.push_back({old.path, path});
    return out;
  }
  if (old.state == State::wrong_password) return refusal(old);
  if (fresh.state == State::absent && old.state == State::absent)
    return Recovery{std::make_shared<const Snapshot>(), {}};
  // Java would start with an empty store here, and write it over what could still be saved.
  static constexpr char kAdvice[] =
      "; the keystore itself is missing. Restore it from a backup, or move the rest away to "
      "start with an empty one";
  return refusal(old.state == State::absent ? fresh : old, kAdvice);
}

}  // namespace

Result<Recovery> plan_recovery(const std::string& path, const Secret& password) {
  auto now = examine(path, password);
  if (!now.ok()) return std::move(now).error();
  auto fresh = examine(path + "_NEW", password);
  if (!fresh.ok()) return std::move(fresh).error();
  auto old = examine(path + "_OLD", password);
  if (!old.ok()) return std::move(old).error();
  if (now->state != State::absent) return with_keystore(*now, *fresh, std::move(*old));
  return without_keystore(path, *fresh, *old);
}

Result<void> carry_out(const std::string& path, const Recovery& recovery) {
  if (recovery.steps.empty()) return {};
  for (const auto& step : recovery.steps) {
    // A sidecar would no longer match; a missing one is always valid.
    KMS_TRY(remove_file(hidden_beside(step.from, ".crc")));
    if (step.to.empty()) {
      KMS_TRY(remove_file(step.from));
      continue;
    }
    KMS_TRY(remove_file(hidden_beside(step.to, ".crc")));
    KMS_TRY(rename_file(step.from, step.to));
  }
  KMS_TRY(sync_path(path));  // Java never syncs what it writes
  return sync_path(directory_of(path));
}

}  // namespace kms::jceks
