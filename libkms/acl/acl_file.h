// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "acl/acl_set.h"
#include "core/health.h"
#include "core/log.h"
#include "core/thread_cached.h"

namespace kms {

// kms-acls.xml with hot reload. current() costs one atomic load; poll() is called about once a
// second by one thread and swaps in a changed file as a whole. A file that cannot be read or parsed
// keeps the old rules and is logged (once for each state of the file, again when it changes).
class AclFile {
 public:
  static Result<std::unique_ptr<AclFile>> open(std::string path, Logger& logger,
                                               AclSet::Properties system_properties = {});

  // Valid until this thread's next call of current().
  const AclSet& current();
  void poll() noexcept;
  // degraded while the file cannot be read and older rules are in force.
  Health condition() const noexcept { return health_.read(); }
  // When the rules in force were read, now_ms().
  std::int64_t loaded_ms() const noexcept { return loaded_ms_.load(std::memory_order_relaxed); }

 private:
  struct Identity {  // of the file as last looked at
    std::int64_t mtime_ns = -1, ctime_ns = -1, size = -1;
    std::uint64_t inode = 0, device = 0;
    bool exists() const { return size >= 0; }
    bool operator==(const Identity&) const = default;
  };
  AclFile(std::string path, Logger& logger, AclSet::Properties system_properties)
      : path_(std::move(path)), logger_(logger), system_properties_(std::move(system_properties)) {}
  static Identity identify(const std::string& path);
  void look(const Identity& now);
  void log_warnings(const std::vector<std::string>& warnings);
  void swap_in(std::shared_ptr<const AclSet> rules);

  std::string path_;
  Logger& logger_;
  AclSet::Properties system_properties_;
  Identity seen_;
  bool settled_ = false;  // a further change must show in the identity
  std::string last_error_;
  HealthNote health_;
  std::atomic<std::int64_t> loaded_ms_{0};
  std::mutex mutex_;
  std::shared_ptr<const AclSet> latest_;
  std::atomic<std::uint64_t> version_{0};
  ThreadCached<AclSet> cached_;
};

}  // namespace kms
