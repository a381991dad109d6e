// SPDX-License-Identifier: Apache-2.0
#include "auth/system_groups.h"

#include <grp.h>
#include <pwd.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace kms {
namespace {

constexpr std::size_t kMaxNssBuffer = 16u << 20;
constexpr int kMaxGroups = 65536;  // NGROUPS_MAX of Linux

std::string error_text(int code) {
  return std::generic_category().message(code);
}

// Calls get(buffer) with a growing buffer while it answers ERANGE.
template <class Get>
int with_buffer(std::vector<char>& buffer, Get get) {
  for (;;) {
    const int rc = get(buffer);
    if (rc == EINTR) continue;
    if (rc != ERANGE || buffer.size() >= kMaxNssBuffer) return rc;
    buffer.resize(buffer.size() * 2);
  }
}

Result<std::vector<gid_t>> gids_of(const std::string& user, gid_t primary) {
  std::vector<gid_t> gids(64);
  for (;;) {
    int n = static_cast<int>(gids.size());
    if (getgrouplist(user.c_str(), primary, gids.data(), &n) >= 0) {
      gids.resize(static_cast<std::size_t>(n));
      return gids;
    }
    if (gids.size() >= kMaxGroups)
      return Error(ErrorKind::unavailable, "more than " + std::to_string(kMaxGroups) + " groups");
    // Some systems say how many there are, others leave n as it was.
    gids.resize(std::min<std::size_t>(
        kMaxGroups, std::max(gids.size() * 2, static_cast<std::size_t>(std::max(n, 0)))));
  }
}

}  // namespace

Result<std::vector<std::string>> system_groups(const std::string& user) {
  std::vector<char> buffer(4096);
  passwd entry{};
  passwd* found = nullptr;
  int rc = with_buffer(buffer, [&](std::vector<char>& b) {
    return getpwnam_r(user.c_str(), &entry, b.data(), b.size(), &found);
  });
  if (rc == ENOENT || rc == ESRCH || (rc == 0 && found == nullptr))
    return std::vector<std::string>{};  // unknown
  if (rc != 0) return Error(ErrorKind::unavailable, "getpwnam_r: " + error_text(rc));

  auto gids = gids_of(user, entry.pw_gid);
  if (!gids.ok()) return std::move(gids).error();
  std::vector<std::string> names;
  for (const gid_t gid : *gids) {
    group g{};
    group* named = nullptr;
    rc = with_buffer(buffer, [&](std::vector<char>& b) {
      return getgrgid_r(gid, &g, b.data(), b.size(), &named);
    });
    // A number without a name matches no rule. A failure may hide a name, so it counts as one.
    if (rc != 0 && rc != ENOENT && rc != ESRCH)
      return Error(ErrorKind::unavailable, "getgrgid_r: " + error_text(rc));
    if (rc == 0 && named != nullptr) names.emplace_back(named->gr_name);
  }
  return names;
}

}  // namespace kms
