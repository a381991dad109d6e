// SPDX-License-Identifier: Apache-2.0
// migrate: the keys of one keystore into another, without a server of its own.
#include <csignal>
#include <optional>

#include "core/clock.h"
#include "core/file_io.h"
#include "keystore/jceks/verify.h"
#include "keystore/migration_report.h"
#include "keystore_access.h"
#include "keystore_commands.h"
#include "migrate_output.h"
#include "progress.h"
#include "served_keys.h"

namespace kmsctl {
namespace {

using State = kms::KeyMigration::State;
using Keys = std::map<std::string, kms::KeyMigration>;

constexpr int kMostRounds = 5;   // of comparing, while the source is changed
constexpr int kMostPasses = 20;  // of one round
constexpr int kFollowMs = 1000;  // from one look at the source to the next

volatile std::sig_atomic_t ending = 0;

// The first signal ends --follow in order, a second one the program.
void end_by_signal() {
  struct sigaction action {};
  action.sa_handler = [](int) { ending = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

void wait_or_end() {
  const std::int64_t until = kms::steady_ms() + kFollowMs;
  while (ending == 0 && kms::steady_ms() < until) {
    const timespec nap{0, 50 * 1000 * 1000};
    nanosleep(&nap, nullptr);
  }
}

// One of the two keystores. A file that is only read is opened anew when somebody wrote it: a
// server that does so does not tell us.
class Side {
 public:
  Side(KeystoreAccess access, bool read_only) : access_(std::move(access)), read_only_(read_only) {}

  Result<kms::KeyStore*> open(kms::Logger& logger, bool anew = false) {
    if (!access_.path.empty() && read_only_) {
      auto now = kms::stat_file(access_.path);
      if (!now.ok()) return std::move(now).error();
      anew = anew || !(*now == seen_);
      seen_ = *now;
    }
    if (store_ != nullptr && !anew) return store_.get();
    if (store_ != nullptr) store_->detach();
    store_ = nullptr;
    auto opened = open_keystore(access_, logger, read_only_);
    if (!opened.ok()) return std::move(opened).error();
    store_ = std::move(*opened);
    return store_.get();
  }
  const KeystoreAccess& access() const { return access_; }

 private:
  KeystoreAccess access_;
  const bool read_only_;
  kms::FileId seen_;
  std::unique_ptr<kms::KeyStore> store_;
};

bool is_change(State state) {
  return state == State::copied || state == State::updated || state == State::removed;
}
bool is_pending(State state) {
  return state == State::would_copy || state == State::would_update || state == State::would_remove;
}

class Run {
 public:
  Run(Invocation& call, KeystoreAccess from, KeystoreAccess to, kms::MigrationReport report)
      : call_(call),
        logger_(call.out),
        dry_run_(call.has("dry-run")),
        from_(std::move(from), true),
        to_(std::move(to), dry_run_),
        report_(std::move(report)) {}

  int go() {
    warn_of_unlisted();
    auto done = work();
    if (!done.ok()) return call_.fail(done.error());
    return tell();
  }

 private:
  Result<void> work() {
    if (dry_run_) {
      KMS_TRY(pass(false, false));
      return finish(false);
    }
    if (call_.has("follow")) {
      end_by_signal();
      call_.out.note("following " + from_.access().uri +
                     "; interrupt it (Ctrl-C) to end with a "
                     "last pass");
      while (ending == 0) {
        KMS_TRY(pass(true, false));
        wait_or_end();
      }
    }
    for (int round = 1;; ++round) {
      for (int i = 1; i <= kMostPasses; ++i) {
        KMS_TRY(pass(true, false));
        if (changes_ == 0) break;
      }
      KMS_TRY(pass(false, true));
      if (pending_ == 0 || round == kMostRounds) return finish(pending_ == 0);
    }
  }

  // What earlier passes have done stays said; what the key is like now comes from the last one.
  Result<void> pass(bool act, bool anew) {
    auto from = from_.open(logger_, anew);
    if (!from.ok()) return std::move(from).error();
    auto to = to_.open(logger_, anew);
    if (!to.ok()) return std::move(to).error();
    Keys found;
    {
      std::optional<Progress> bar;
      const char* what = act || dry_run_ ? "keys" : "compared";
      KMS_TRY(kms::migrate_keys(**from, **to, report_, act, found,
                                [&](std::size_t done, std::size_t total) {
                                  if (!bar) bar.emplace(call_.out, what, total);
                                  bar->at(done);
                                }));
    }
    ++passes_;
    changes_ = pending_ = same_ = 0;
    std::erase_if(keys_, [&](const auto& known) {
      return known.second.state != State::removed && found.count(known.first) == 0;
    });
    for (auto& [name, key] : found) {
      changes_ += is_change(key.state);
      same_ += key.state == State::already_there;
      take(name, std::move(key));
      pending_ += is_pending(keys_[name].state);
    }
    auto deleted = (*from)->deleted_keys();
    if (deleted.ok()) deleted_ = std::move(*deleted);
    return {};
  }

  void take(const std::string& name, kms::KeyMigration key) {
    const auto [at, fresh] = keys_.try_emplace(name);
    kms::KeyMigration& known = at->second;
    // It was tried, and is not done by trying again.
    if (!fresh && known.state == State::failed && is_pending(key.state)) return;
    const bool keep = known.state == State::copied ||
                      (known.state == State::updated && key.state != State::removed);
    if (keep && (key.state == State::already_there || key.state == State::updated)) {
      key.state = known.state;
      key.text = known.text;
    }
    known = std::move(key);
  }

  Result<void> finish(bool complete) {
    complete_ = complete;
    if (dry_run_ && call_.get("report").empty()) return {};
    return report_.write({keys_, deleted_, unlisted_, passes_, complete});
  }

  // What the list of keys of a JCEKS file does not have, and so is not copied.
  void warn_of_unlisted() {
    const KeystoreAccess& from = from_.access();
    if (!from.uri.starts_with("jceks:")) return;
    auto found = kms::jceks::inspect(from.path, from.password);
    if (!found.ok()) return;
    for (const auto& finding : found->findings) {
      if (finding.code != "name-with-at" && finding.code != "version-without-metadata" &&
          finding.code != "version-without-number" && finding.code != "foreign-entry")
        continue;
      unlisted_.push_back("'" + finding.entry + "' " + finding.text);
      call_.out.warning("not copied: " + shown(unlisted_.back()));
    }
  }

  int tell() {
    Output& out = call_.out;
    const MigrationTotals totals = tell_keys(keys_, out);
    tell_deleted(deleted_, out);
    const auto number = [](std::size_t n) { return std::to_string(n); };
    out.line(
        number(keys_.size()) +
        " keys: " + number(totals[dry_run_ ? State::would_copy : State::copied]) +
        (dry_run_ ? " would be copied, " : " copied, ") + number(totals[State::already_there]) +
        " already there, " + number(totals[dry_run_ ? State::would_update : State::updated]) +
        (dry_run_ ? " would be updated, " : " updated, ") +
        number(totals[dry_run_ ? State::would_remove : State::removed]) +
        (dry_run_ ? " would be taken away, " : " taken away, ") + number(totals[State::different]) +
        " different, " + number(totals[State::failed]) + " failed");
    if (dry_run_) return exit_of_keys(totals);
    out.set("passes", json_integer(passes_));
    out.set("verified", json_integer(static_cast<json_int_t>(same_)));
    out.set("complete", json_boolean(complete_));
    out.line("compared: " + number(same_) + " keys are the same on both sides, " +
             number(keys_.size() - totals[State::removed] - same_) + " differ");
    if (!complete_) {
      out.error(
          "the source was changed faster than it could be copied; run it again once nobody "
          "changes keys");
      return totals[State::failed] > 0 ? kFailed : kNegative;
    }
    return exit_of_keys(totals);
  }

  static int exit_of_keys(const MigrationTotals& totals) {
    if (totals[State::failed] > 0) return kFailed;
    return totals[State::different] > 0 ? kNegative : kOk;
  }

  Invocation& call_;
  StderrLogger logger_;
  const bool dry_run_;
  Side from_, to_;
  kms::MigrationReport report_;
  Keys keys_;
  std::vector<kms::DeletedKey> deleted_;  // of the source, by the last pass
  std::vector<std::string> unlisted_;
  int passes_ = 0;
  std::size_t changes_ = 0, pending_ = 0, same_ = 0;  // of the last pass
  bool complete_ = false;
};

// Of an HSM nothing can be taken, and nothing put into it: says so of each key.
int refuse_hsm(Invocation& call, const KeystoreAccess& from, const KeystoreAccess& to) {
  const bool out_of_it = from.uri.starts_with("hsm:");
  const std::string why =
      out_of_it ? "cannot be moved: its material never leaves the HSM"
                : "cannot be moved: an HSM makes its keys itself, and takes none over";
  StderrLogger logger(call.out);
  auto store = open_keystore(from, logger, true);
  if (!store.ok()) return call.fail(store.error());
  auto names = (*store)->names();
  if (!names.ok()) return call.fail(names.error());
  Keys keys;
  for (const std::string& name : *names) keys[name].text = why;
  tell_keys(keys, call.out);
  return call.fail(kFailed, (out_of_it ? from.uri : to.uri) + ": nothing can be copied. " +
                                (out_of_it ? "Create keys of other names elsewhere and re-encrypt "
                                             "what these protect"
                                           : "'kmsctl hsm adopt' makes new versions there"));
}

Result<KeystoreAccess> source_of(Invocation& call, const Conf& conf) {
  const std::string from = call.get("from");
  if (!is_served(from)) return keystore_access(conf, from, call.get("from-password-file"));
  auto options = connection_by(call, "from");
  if (!options.ok()) return std::move(options).error();
  KeystoreAccess access;
  access.uri = options->url;
  access.served = std::make_shared<const RestOptions>(std::move(*options));
  return access;
}

int roll_back(Invocation& call) {
  auto report = kms::MigrationReport::load(call.get("roll-back"));
  if (!report.ok()) return call.fail(report.error());
  auto conf = conf_of(call);
  if (!conf.ok()) return call.fail(conf.error());
  auto to = keystore_access(*conf, report->to(), call.get("to-password-file"));
  if (!to.ok()) return call.fail(to.error());
  to->trustee.retention_days = 0;  // these keys are copies
  StderrLogger logger(call.out);
  Side side(std::move(*to), false);
  auto store = side.open(logger);
  if (!store.ok()) return call.fail(store.error());
  Keys keys;
  {
    std::optional<Progress> bar;
    kms::take_back(**store, *report, keys, [&](std::size_t done, std::size_t total) {
      if (!bar) bar.emplace(call.out, "keys", total);
      bar->at(done);
    });
  }
  if (auto written = report->write({keys, {}, {}, 0, false}); !written.ok())
    return call.fail(written.error());
  const MigrationTotals totals = tell_keys(keys, call.out);
  call.out.line(std::to_string(totals[State::removed]) + " taken away, " +
                std::to_string(totals[State::already_there]) + " gone already, " +
                std::to_string(totals[State::different]) + " changed since and left alone, " +
                std::to_string(totals[State::failed]) + " failed");
  if (totals[State::failed] > 0) return kFailed;
  return totals[State::different] > 0 ? kNegative : kOk;
}

}  // namespace

int run_migrate(Invocation& call) {
  if (call.has("roll-back")) {
    if (call.has("from") || call.has("to") || call.has("report") || call.has("follow") ||
        call.has("dry-run"))
      return call.usage_error("--roll-back goes by its report alone");
    return roll_back(call);
  }
  if (call.get("from").empty() || call.get("to").empty())
    return call.usage_error("--from and --to are needed");
  if (call.has("follow") && call.has("dry-run"))
    return call.usage_error("--follow and --dry-run do not go together");
  auto conf = conf_of(call);
  if (!conf.ok()) return call.fail(conf.error());
  if (is_served(call.get("to")))
    return call.usage_error("--to is a store, not a KMS that serves: name what keeps its keys");
  auto from = source_of(call, *conf);
  if (!from.ok()) return call.fail(from.error());
  auto to = keystore_access(*conf, call.get("to"),
                            call.get("to-password-file", call.get("from-password-file")));
  if (!to.ok()) return call.fail(to.error());
  if (from->uri == to->uri) return call.usage_error("--from and --to are the same");
  if (from->uri.starts_with("hsm:") || to->uri.starts_with("hsm:"))
    return refuse_hsm(call, *from, *to);
  to->trustee.retention_days = 0;  // where a copy is taken away again
  const std::string file = call.get("report");
  Result<kms::MigrationReport> report = kms::MigrationReport(from->uri, to->uri);
  if (!file.empty())
    report = kms::MigrationReport::open(file, from->uri, to->uri, !call.has("dry-run"));
  if (!report.ok()) return call.fail(report.error());
  return Run(call, std::move(*from), std::move(*to), std::move(*report)).go();
}

}  // namespace kmsctl
