// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/bytes.h"
#include "core/result.h"

namespace kms {

// Which state of which file: two equal ids mean that nobody has touched it.
struct FileId {
  bool exists = false;
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;
  bool operator==(const FileId&) const = default;
};
FileId file_id(const struct stat& st) noexcept;

// ErrorKind::io, "Can't WHAT PATH: strerror".
Error io_error(std::string_view what, std::string_view path, int error_number);

// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Where a file really is: a symbolic link is followed, so that a write does not replace it.
std::string real_path(const std::string& path);
std::string directory_of(std::string_view path);
// The file .NAME.SUFFIX beside path, or .NAME and the suffix as it is.
std::string hidden_beside(std::string_view path, std::string_view suffix);

// A missing file is no error: exists is false.
Result<FileId> stat_file(const std::string& path);

struct LoadedFile {
  FileId id;
  Bytes data;
};
Result<LoadedFile> load_file(const std::string& path);

Result<void> write_all(int fd, ByteView data, const std::string& path);  // path: for messages
Result<void> remove_file(const std::string& path);                       // a missing one is fine
Result<void> rename_file(const std::string& from, const std::string& to);
Result<void> sync_path(const std::string& path);  // file or directory

// Owner for a file that did not exist before; -1 leaves it.
struct FileOwner {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
};

struct Replaced {
  FileId id;
  // The new file is in place, but the directory could not be synced: a power cut may bring the old
  // one back.
  std::optional<Error> not_durable;
};

// Puts data in the place of path, durably: .NAME.tmp is written and synced, renamed to path and the
// directory synced. Mode, owner and group stay as far as the process may set them. before_rename is
// asked last; its error ends the call. After an error path is untouched.
Result<Replaced> replace_file(const std::string& path, ByteView data, const FileOwner& new_owner,
                              const std::function<Result<void>()>& before_rename);

// Called after each step of replace_file, for tests that die there.
extern void (*replace_file_step)(std::string_view step);

}  // namespace kms
