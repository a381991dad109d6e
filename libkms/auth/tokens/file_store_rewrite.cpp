// SPDX-License-Identifier: Apache-2.0
// Writing the journal anew: shorter, or without what was damaged.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

#include "auth/tokens/file_store.h"
#include "core/clock.h"
#include "crypto/random.h"

namespace kms::tokens {
namespace {

constexpr std::int64_t kCompactAgainMs = 60000;  // after a failure
constexpr int kKept = 10;                        // damaged files

Result<std::uint64_t> random_id() {
  std::uint64_t id = 0;
  KMS_TRY(fill_public({reinterpret_cast<std::uint8_t*>(&id), sizeof id}));
  return id | 1;  // 0 is none
}

}  // namespace

// continues: the table is just what file_ says up to length_, so that others who have read so far
// need not read the new file.
Result<void> FileTokenStore::rewrite(const WriteLock::Turn& turn, bool continues) {
  auto id = random_id();
  if (!id.ok()) return std::move(id).error();
  const std::uint64_t generation = lock_.generation().load();
  JournalHeader header;
  header.id = *id;
  header.epoch = (file_.has_value() ? file_->header().epoch : generation >> 48) + 1;
  // No reader may take it for the file that he knows.
  if ((header.epoch & 0xffff) == generation >> 48) ++header.epoch;
  if (continues) {
    header.previous_id = file_->header().id;
    header.previous_length = length_;
  }
  header.snapshot_length = kHeaderSize + table_.snapshot_size();
  Secret bytes(static_cast<std::size_t>(header.snapshot_length));
  std::ranges::copy(encode_header(header), bytes.data());
  table_.write_snapshot(bytes.data() + kHeaderSize);
  auto replaced = replace_file(
      options_.path, bytes.view(), {options_.owner_uid, options_.owner_gid}, [&]() -> Result<void> {
        if (turn.still_held()) return {};
        return Error(ErrorKind::unavailable, "The lock file was taken away: " + lock_.path());
      });
  if (!replaced.ok()) return std::move(replaced).error();
  // The next writer finds the new file, and goes on with it once the directory can be synced.
  if (replaced->not_durable.has_value()) return *replaced->not_durable;
  auto there = JournalFile::open(options_.path);
  if (!there.ok()) return std::move(there).error();
  if (!there->sound() || there->header().id != header.id)
    return Error(ErrorKind::io, "Can't use " + options_.path + ": it was replaced by others");
  file_ = std::move(*there);
  length_ = header.snapshot_length;
  suspect_ = append_failed_ = false;
  const std::unique_lock hold(table_mutex_);
  publish();
  return {};
}

// rest begins with what is damaged, at length_. What can be read behind it counts; the file as it
// is stays beside for who wants to look.
Result<void> FileTokenStore::rescue(const WriteLock::Turn& turn, ByteView rest) {
  std::size_t damaged = 0, records = 0;
  const std::string where = std::to_string(length_);
  const bool empty = rest.empty();  // a file that somebody has made for us
  while (!rest.empty()) {
    const std::size_t skip = find_record(rest);
    damaged += skip;
    rest = rest.subspan(skip);
    if (rest.empty()) break;
    Frame frame = parse_record(rest);
    rest = rest.subspan(frame.size);
    ++records;
    const std::unique_lock hold(table_mutex_);
    table_.apply(std::move(frame.record));
  }
  if (empty) return rewrite(turn, false);
  const auto kept = keep_beside();
  if (!kept.ok()) return kept.error();
  KMS_TRY(rewrite(turn, false));
  log(LogLevel::error, "KMS0322",
      std::to_string(damaged) + " bytes at byte " + where +
          " are damaged; what stands before and " + std::to_string(records) +
          " records behind go on to be used, the damaged file was kept as " + *kept);
  return {};
}

// A second name, so that the path is never without a file.
Result<std::string> FileTokenStore::keep_beside() {
  for (int i = 0;; ++i) {
    std::string name = options_.path + ".damaged" + (i == 0 ? "" : "." + std::to_string(i));
    if (i + 1 == kKept) KMS_TRY(remove_file(name));  // the newest of many
    if (::link(options_.path.c_str(), name.c_str()) == 0) return name;
    if (errno == EEXIST && i + 1 < kKept) continue;
    // No such thing on this file system.
    KMS_TRY(rename_file(options_.path, name));
    return name;
  }
}

bool FileTokenStore::mostly_garbage() const {
  return length_ > options_.compact_bytes && length_ / 2 > kHeaderSize + table_.snapshot_size() &&
         steady_ms() >= compact_at_ms_;
}

void FileTokenStore::compact(const WriteLock::Turn& turn) {
  if (!mostly_garbage()) return;
  const std::uint64_t before = length_;
  if (auto done = rewrite(turn, true); !done.ok()) {
    compact_at_ms_ = steady_ms() + kCompactAgainMs;
    if (!no_compaction_.exchange(true)) log(LogLevel::warn, "KMS0313", done.error().message);
    return;
  }
  no_compaction_ = false;
  log(LogLevel::debug, "KMS0314",
      "shortened from " + std::to_string(before) + " to " + std::to_string(length_) + " bytes");
}

}  // namespace kms::tokens
