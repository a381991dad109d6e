// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/result.h"
#include "keystore/jceks/file_io.h"

namespace kms::jceks {

// The file .NAME.lock beside a keystore. Writers of all processes take turns by flock() on it, and
// its first page, mapped by everybody, counts the generations of the keystore: a writer bumps the
// count once its file is durable, and each reader sees that in its next call.
//
// Nobody may shorten the file while a server runs: touching a page behind the end of a file kills
// the process. Its size is checked at open, before each write and in each poll, and put right.
class LockFile {
 public:
  // Opens or makes the file and maps it. Waits at most timeout_ms for its first maker to be done.
  // As root, gives the file to owner. Errors: io; unavailable after the wait.
  static Result<std::unique_ptr<LockFile>> open(const std::string& path, const Owner& owner,
                                                int timeout_ms);
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  // Whether the path still names this file, in full size.
  bool is_current() const noexcept;

  Result<void> lock(int timeout_ms);  // ErrorKind::unavailable, naming the file, after the wait
  void unlock() noexcept;
  // Keeps the mapping only, for readers that still look at it.
  void retire() noexcept { fd_ = Fd(); }

  std::atomic<std::uint64_t>& generation() noexcept { return header_->generation; }
  const std::string& path() const noexcept { return path_; }

 private:
  struct Header {
    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t reserved;
    std::atomic<std::uint64_t> generation;
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

  explicit LockFile(std::string path) : path_(std::move(path)) {}
  Result<void> check_file(const Owner& owner);
  Result<void> map();
  Result<void> prepare(int timeout_ms);

  std::string path_;
  Fd fd_;
  Header* header_ = nullptr;
};

}  // namespace kms::jceks
