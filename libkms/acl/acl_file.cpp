// SPDX-License-Identifier: Apache-2.0
#include "acl/acl_file.h"

#include <sys/stat.h>

#include <exception>
#include <utility>

#include "core/clock.h"

namespace kms {
namespace {

// Time stamps are coarse: what is written shortly after a look may carry the stamps of that look.
// So a file is read again at each poll until its last change is this old.
constexpr std::int64_t kSettleMs = 2000;

std::int64_t nanoseconds(const timespec& t) {
  return static_cast<std::int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

}  // namespace

AclFile::Identity AclFile::identify(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  // ctime too: cp -p and rsync -t may keep mtime and size, chmod may make a file readable.
  return {nanoseconds(info.st_mtim), nanoseconds(info.st_ctim), info.st_size, info.st_ino,
          info.st_dev};
}

Result<std::unique_ptr<AclFile>> AclFile::open(std::string path, Logger& logger,
                                               AclSet::Properties system_properties) {
  std::unique_ptr<AclFile> made(new AclFile(std::move(path), logger, std::move(system_properties)));
  made->seen_ = identify(made->path_);
  std::vector<std::string> warnings;
  auto rules = AclSet::load(made->path_, warnings, made->system_properties_);
  if (!rules.ok()) return std::move(rules).error();
  made->swap_in(std::move(rules).value());
  made->log_warnings(warnings);
  logger.log(LogLevel::notice, "KMS0201", "Rules of " + made->path_ + " are in force");
  return made;
}

const AclSet& AclFile::current() {
  if (const AclSet* seen = cached_.get(version_.load(std::memory_order_acquire))) return *seen;
  const std::lock_guard lock(mutex_);
  return *cached_.put(version_.load(std::memory_order_relaxed), latest_);
}

void AclFile::poll() noexcept {
  try {
    const Identity now = identify(path_);
    if (!(now == seen_ && settled_)) look(now);
  } catch (const std::exception& e) {
    settled_ = false;  // try again
    health_.set(HealthState::degraded, "the ACLs could not be looked at; older rules are in force");
    logger_.log(LogLevel::error, "KMS0206", e.what());
  }
}

void AclFile::look(const Identity& now) {
  const bool changed = !(now == seen_);
  seen_ = now;
  settled_ = !now.exists() || now_ms() - now.ctime_ns / 1000000 > kSettleMs;
  if (!now.exists()) {
    health_.set(HealthState::degraded, "kms-acls.xml is gone; the rules read before are in force");
    logger_.log(LogLevel::warn, "KMS0205",
                path_ + " is gone or out of reach; the rules read before stay in force");
    return;
  }
  std::vector<std::string> warnings;
  auto rules = AclSet::load(path_, warnings, system_properties_);
  if (!rules.ok()) {
    health_.set(HealthState::degraded,
                "kms-acls.xml cannot be read; the rules read before are in force");
    const std::string& text = rules.error().message;
    if (changed || text != last_error_)
      logger_.log(LogLevel::error, "KMS0204", text + "; the rules read before stay in force");
    last_error_ = text;
    return;
  }
  last_error_.clear();
  health_.good();
  if (!changed && **rules == *latest_) return;  // only poll writes latest_
  swap_in(std::move(rules).value());
  log_warnings(warnings);
  logger_.log(LogLevel::notice, "KMS0202", "Changed rules of " + path_ + " are in force");
}

void AclFile::swap_in(std::shared_ptr<const AclSet> rules) {
  const std::lock_guard lock(mutex_);
  latest_ = std::move(rules);
  loaded_ms_.store(now_ms(), std::memory_order_relaxed);
  version_.fetch_add(1, std::memory_order_release);
}

void AclFile::log_warnings(const std::vector<std::string>& warnings) {
  for (const std::string& text : warnings) logger_.log(LogLevel::warn, "KMS0203", text);
}

}  // namespace kms
