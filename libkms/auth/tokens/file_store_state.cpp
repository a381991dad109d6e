// SPDX-License-Identifier: Apache-2.0
// Which state is the current one: reading on what others wrote, and putting right what is found.
#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "auth/tokens/file_store.h"

namespace kms::tokens {
namespace {

constexpr int kLengthBits = 48;
constexpr int kTries = 5;

std::uint64_t epoch_of(std::uint64_t generation) {
  return generation >> kLengthBits;
}

std::uint64_t length_of(std::uint64_t generation) {
  return generation & ((std::uint64_t{1} << kLengthBits) - 1);
}

// Where the number of the epoch has gone round, the rest of it tells.
std::uint64_t short_epoch(const JournalHeader& header) {
  return epoch_of(header.epoch << kLengthBits);
}

std::uint64_t generation_of(const JournalHeader& header, std::uint64_t length) {
  return header.epoch << kLengthBits | length;
}

bool all_zero(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
}

}  // namespace

// What was committed when this began is in the table when it ends.
Result<void> FileTokenStore::catch_up() {
  for (int i = 0; i < kTries; ++i) {
    const std::uint64_t now = lock_.generation().load();
    if (now == seen_) return {};
    auto done = read_on(now);
    if (!done.ok()) return std::move(done).error();
    if (*done) {
      const std::unique_lock hold(table_mutex_);
      seen_ = now;
      return {};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1 << i));
  }
  return Error(ErrorKind::unavailable, "The token journal is being replaced: " + options_.path);
}

// False when the file is just being replaced, and the generation will tell more in a moment.
Result<bool> FileTokenStore::read_on(std::uint64_t generation) {
  const std::uint64_t length = length_of(generation);
  const bool same_file = file_.has_value() && short_epoch(file_->header()) == epoch_of(generation);
  if (!same_file || length < length_) {
    auto changed = change_files(generation);
    if (!changed.ok() || !*changed) return changed;
  }
  if (short_epoch(file_->header()) != epoch_of(generation)) return true;  // it is ahead
  JournalFile::End end;
  KMS_TRY(take_records(length, end));
  if (end.at == length) return true;
  return Error(ErrorKind::corrupt, "The record at byte " + std::to_string(end.at) + " of " +
                                       options_.path + " is damaged or missing");
}

// The file at the path is the one of that generation, or the next one, which has been renamed but
// not published and says the same.
Result<bool> FileTokenStore::change_files(std::uint64_t generation) {
  auto there = JournalFile::open(options_.path);
  if (!there.ok()) return std::move(there).error();
  const JournalHeader header = there->header();
  const bool named = short_epoch(header) == epoch_of(generation);
  const bool next =
      short_epoch(header) == epoch_of(generation + (std::uint64_t{1} << kLengthBits)) &&
      header.previous_length == length_of(generation);
  if (!there->sound() || (!named && !next)) return false;
  const auto followed = follow(*there);
  if (!followed.ok() || *followed) return followed;
  TokenTable table;
  const std::uint64_t to = named ? length_of(generation) : header.snapshot_length;
  const auto end = there->read(kHeaderSize, to, [&](Record r) { table.apply(std::move(r)); });
  if (!end.ok()) return end.error();
  adopt(std::move(*there), end->at, std::move(table));
  return true;
}

// Goes on in the next file without reading its snapshot, if that stands for a state of this one.
Result<bool> FileTokenStore::follow(JournalFile& there) {
  const JournalHeader header = there.header();
  if (!file_.has_value() || header.previous_id != file_->header().id ||
      header.previous_length < length_)
    return false;
  JournalFile::End end;
  KMS_TRY(take_records(header.previous_length, end));
  if (end.at != header.previous_length) return false;
  file_ = std::move(there);
  length_ = header.snapshot_length;
  return true;
}

Result<void> FileTokenStore::take_records(std::uint64_t to, JournalFile::End& end) {
  std::vector<Record> records;
  auto read = file_->read(length_, to, [&](Record r) { records.push_back(std::move(r)); });
  if (!read.ok()) return std::move(read).error();
  const std::unique_lock hold(table_mutex_);
  for (Record& record : records) table_.apply(std::move(record));
  length_ = read->at;
  end = *read;
  return {};
}

void FileTokenStore::adopt(JournalFile file, std::uint64_t length, TokenTable table) {
  file_ = std::move(file);
  length_ = length;
  const std::unique_lock hold(table_mutex_);
  std::swap(table_, table);
}

// table_mutex_ is held, too.
void FileTokenStore::publish() {
  seen_ = generation_of(file_->header(), length_);
  lock_.generation().store(seen_);
}

// Makes table, file and generation agree. Nobody else writes meanwhile, so the file itself tells
// what is committed, and not the generation, which may be from before a reboot.
Result<void> FileTokenStore::settle(const WriteLock::Turn& turn) {
  KMS_TRY(settle_file(turn));
  KMS_TRY(settle_tail(turn));
  if (suspect_) KMS_TRY(rewrite(turn, true));
  const std::uint64_t said = lock_.generation().load();
  const std::uint64_t generation = generation_of(file_->header(), length_);
  if (said != generation) {
    if (epoch_of(said) == epoch_of(generation) && said > generation)
      log(LogLevel::error, "KMS0323",
          "the file was shortened; " + std::to_string(said - generation) + " bytes are lost");
    // Of a writer that did not come to say so, and perhaps not to sync either.
    KMS_TRY(file_->sync());
    KMS_TRY(sync_path(directory_of(options_.path)));
  }
  if (said == generation && seen_ == generation) return {};
  const std::unique_lock hold(table_mutex_);
  publish();
  return {};
}

// Makes file_ the file at the path.
Result<void> FileTokenStore::settle_file(const WriteLock::Turn& turn) {
  if (file_.has_value() && file_->is_at(options_.path)) {
    const auto size = file_->size();
    if (!size.ok()) return size.error();
    if (*size >= length_) return {};
    log(LogLevel::error, "KMS0315", "the file was shortened; it is written anew from memory");
    return rewrite(turn, false);
  }
  if (file_.has_value()) {  // all that was committed to it
    const auto size = file_->size();
    if (!size.ok()) return size.error();
    JournalFile::End end;
    KMS_TRY(take_records(*size, end));
  }
  const auto id = stat_file(options_.path);
  if (!id.ok()) return id.error();
  if (!id->exists) {
    if (file_.has_value())
      log(LogLevel::error, "KMS0316", "the file has vanished; it is written anew from memory");
    return rewrite(turn, false);
  }
  auto there = JournalFile::open(options_.path);
  if (!there.ok()) return std::move(there).error();
  return settle_other(turn, std::move(*there));
}

// There is another file than ours. It was put there by somebody else of us; where it was not, what
// is in memory is what was answered for, and goes on.
Result<void> FileTokenStore::settle_other(const WriteLock::Turn& turn, JournalFile there) {
  const auto ours = is_journal(there);
  if (!ours.ok()) return ours.error();
  if (!*ours)
    return Error(ErrorKind::unavailable,
                 "There is another file in the place of the token journal " + options_.path);
  const auto followed = follow(there);
  if (!followed.ok()) return followed.error();
  if (*followed) return {};
  if (file_.has_value() && short_epoch(file_->header()) == epoch_of(lock_.generation().load())) {
    const auto kept = keep_beside();
    if (!kept.ok()) return kept.error();
    log(LogLevel::error, "KMS0317",
        "another file was put into its place and is kept as " + *kept +
            "; the journal is written anew from memory");
    return rewrite(turn, false);
  }
  TokenTable table;
  JournalFile::End end{0, FrameState::whole};
  if (there.sound()) {
    const auto size = there.size();
    if (!size.ok()) return size.error();
    const auto read = there.read(kHeaderSize, *size, [&](Record r) { table.apply(std::move(r)); });
    if (!read.ok()) return read.error();
    end = *read;
  }
  adopt(std::move(there), end.at, std::move(table));
  return {};
}

// Makes table_ say all that the file says, and the file end there.
Result<void> FileTokenStore::settle_tail(const WriteLock::Turn& turn) {
  const auto size = file_->size();
  if (!size.ok()) return size.error();
  JournalFile::End end{length_, FrameState::damaged};
  if (file_->sound()) KMS_TRY(take_records(*size, end));
  if (file_->sound() && length_ == *size) return {};
  auto rest = file_->bytes(length_, *size);
  if (!rest.ok()) return std::move(rest).error();
  const ByteView bytes = rest->view();
  // A write that was cut off ends the file, and what was not synced may read as zeros.
  const bool torn =
      !bytes.empty() && (all_zero(bytes) || (end.why == FrameState::incomplete &&
                                             find_record(bytes.subspan(1)) == bytes.size() - 1));
  if (!file_->sound() || !torn) return rescue(turn, bytes);
  log(LogLevel::warn, "KMS0321",
      "an unfinished record of " + std::to_string(bytes.size()) + " bytes at its end was dropped");
  return file_->cut(length_);
}

}  // namespace kms::tokens
