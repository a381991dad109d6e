// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

#include "metrics/metrics.h"

namespace kms {
namespace {

std::int64_t microseconds(const timeval& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000 + time.tv_usec;
}

std::int64_t entries_of(const char* path) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return 0;
  std::int64_t entries = 0;
  while (const dirent* entry = readdir(directory))
    if (entry->d_name[0] != '.') ++entries;
  closedir(directory);
  return entries;
}

}  // namespace

ProcessFacts own_process_facts() noexcept {
  ProcessFacts facts;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0)
    facts.cpu_us = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
  if (std::FILE* file = std::fopen("/proc/self/statm", "re"); file != nullptr) {
    long size = 0, resident = 0;
    if (std::fscanf(file, "%ld %ld", &size, &resident) == 2)
      facts.resident_bytes = resident * sysconf(_SC_PAGESIZE);
    std::fclose(file);
  }
  facts.threads = entries_of("/proc/self/task");
  // Less the one that counts.
  facts.open_fds = entries_of("/proc/self/fd") - 1;
  if (facts.open_fds < 0) facts.open_fds = 0;
  return facts;
}

}  // namespace kms
