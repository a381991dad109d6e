// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/file_io.h"
#include "core/result.h"

namespace kms {

struct LockFileOptions {
  std::string path;
  FileOwner owner;  // of a new file, where root makes it
  int timeout_ms = 30000;
  std::string of_what = "keystore";  // for messages
};

// The file .NAME.lock beside a store. Writers of all processes take turns by flock() on it, and its
// first page, mapped by everybody, has the generation of the store: a writer changes it once its
// file is durable, and each reader sees that in its next call.
//
// Nobody may shorten the file while a server runs: touching a page behind the end of a file kills
// the process. Its size is checked at open, before each write and in each poll, and put right.
class LockFile {
 public:
  // Shared by all processes. A new file's generation is one that no earlier file of its name had.
  struct Words {
    std::atomic<std::uint64_t> generation{1};
    std::atomic<std::uint64_t> counter{0};  // free for the store's use
  };

  // Opens or makes the file and maps it. Waits at most the timeout for its first maker to be done.
  // As root, gives the file to its owner. Errors: io; unavailable after the wait.
  static Result<std::unique_ptr<LockFile>> open(const LockFileOptions& options);
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  // Whether the path still names this file, in full size.
  bool is_current() const noexcept;

  Result<void> lock(int timeout_ms);  // ErrorKind::unavailable, naming the file, after the wait
  void unlock() noexcept;
  // Keeps the mapping only, for readers that still look at it.
  void retire() noexcept { fd_ = Fd(); }

  Words& words() noexcept { return header_->words; }

 private:
  struct Header {
    std::uint64_t magic;
    std::uint32_t layout;
    std::uint32_t reserved;
    Words words;
  };
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

  explicit LockFile(const LockFileOptions& options)
      : path_(options.path), of_what_(options.of_what) {}
  Result<void> check_file(const FileOwner& owner);
  Result<void> map();
  Result<void> prepare(int timeout_ms);

  const std::string path_, of_what_;
  Fd fd_;
  Header* header_ = nullptr;
};

}  // namespace kms
