// SPDX-License-Identifier: Apache-2.0
// Opening a keystore: what is on the disk is looked at, put in order, and loaded.
#include "keystore/jceks/jceks_store.h"

#include <unistd.h>

#include "core/lock_file.h"
#include "keystore/jceks/pbe.h"
#include "keystore/jceks/recovery.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {
namespace {

Result<void> check_directory(const std::string& path) {
  const std::string directory = directory_of(path);
  auto id = stat_file(directory);
  if (!id.ok()) return std::move(id).error();
  if (!id->exists)
    return Error(ErrorKind::io, "Can't open keystore " + path + ": the directory " + directory +
                                    " does not exist");
  return {};
}

// A tool that root runs must not make files that the server cannot use: what it makes goes to the
// owner of the keystore, or of its directory.
void choose_owner(JceksOptions& options) {
  if (::geteuid() != 0 || options.owner_uid != static_cast<uid_t>(-1)) return;
  struct stat st;
  if (::stat(options.path.c_str(), &st) != 0 &&
      ::stat(directory_of(options.path).c_str(), &st) != 0)
    return;
  options.owner_uid = st.st_uid;
  options.owner_gid = st.st_gid;
}

void warn_of_password(const JceksOptions& options, const Secret& password, Logger& logger) {
  for (const std::uint8_t b : password.view()) {
    if (b >= 0x20 && b <= 0x7E) continue;
    logger.log(LogLevel::warn, "KMS0104",
               about(options.path,
                     "the keystore password has characters beyond ASCII: no key can be "
                     "opened or made with it"));
    return;
  }
}

void report(const std::string& path, const Recovery& recovery, Logger& logger) {
  for (const auto& step : recovery.steps) {
    const std::string what =
        step.to.empty() ? "removed " + step.from : "renamed " + step.from + " to " + step.to;
    logger.log(LogLevel::notice, "KMS0102",
               about(path, "an earlier write was interrupted; " + what));
  }
}

// Recovery under the lock, so that two servers that start together do not undo each other's.
Result<SnapshotPtr> recover(const JceksOptions& options, const Secret& password, Logger& logger) {
  auto lock = LockFile::open({hidden_beside(real_path(options.path), ".lock"),
                              {options.owner_uid, options.owner_gid},
                              options.lock_timeout_ms});
  if (lock.ok()) {
    KMS_TRY((*lock)->lock(options.lock_timeout_ms));
  } else if (lock.error().kind != ErrorKind::io ||
             ::access(directory_of(options.path).c_str(), W_OK) == 0) {
    return std::move(lock).error();
  }
  auto plan = plan_recovery(options.path, password);
  if (!plan.ok()) return std::move(plan).error();
  if (!plan->steps.empty() && !lock.ok()) return std::move(lock).error();
  KMS_TRY(carry_out(options.path, *plan));
  report(options.path, *plan, logger);
  if (lock.ok()) KMS_TRY(remove_file(hidden_beside(real_path(options.path), ".tmp")));
  if (plan->steps.empty()) return plan->snapshot;
  // A rename changes the file's identity, not its contents.
  auto id = stat_file(options.path);
  if (!id.ok()) return std::move(id).error();
  auto moved = std::make_shared<Snapshot>(*plan->snapshot);
  moved->file = *id;
  return SnapshotPtr(std::move(moved));
}

Result<SnapshotPtr> look(const JceksOptions& options, const Secret& password) {
  auto plan = plan_recovery(options.path, password);
  if (!plan.ok()) return std::move(plan).error();
  return plan->snapshot;
}

}  // namespace

Result<std::unique_ptr<KeyStore>> open_store(JceksOptions options, Secret password, Logger& logger,
                                             bool check_only) {
  if (options.path.empty() || options.path[0] != '/')
    return Error(ErrorKind::configuration, "keystore path '" + options.path + "' is not absolute");
  if (options.iterations < kMinIterations || options.iterations > kMaxIterations)
    options.iterations = kDefaultIterations;  // as the JDK does
  KMS_TRY(pbe_available());
  KMS_TRY(check_directory(options.path));
  choose_owner(options);
  warn_of_password(options, password, logger);
  auto first = check_only ? look(options, password) : recover(options, password, logger);
  if (!first.ok()) return std::move(first).error();
  logger.log(LogLevel::info, "KMS0101",
             about(options.path, "keystore with " + std::to_string((*first)->entries.size()) +
                                     " entries opened"));
  return std::unique_ptr<KeyStore>(std::make_unique<JceksStore>(
      std::move(options), std::move(password), logger, std::move(*first), check_only));
}

}  // namespace kms::jceks
