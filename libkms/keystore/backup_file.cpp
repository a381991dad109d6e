// SPDX-License-Identifier: Apache-2.0
#include "keystore/backup_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "core/clock.h"
#include "crypto/base64.h"
#include "crypto/random.h"

namespace kms {
namespace {

using hadoop::JsonPtr;

constexpr std::string_view kFormat = "mod_kms key backup";
constexpr int kVersion = 1;
constexpr std::size_t kPartSize = 1024 * 1024;  // bytes of JSON, about

// What a record takes in the JSON, about.
std::size_t size_of(const KeyRecord& key) {
  std::size_t size = 400 + key.metadata.description.value_or("").size();
  for (const auto& [name, value] : key.metadata.attributes) size += name.size() + value.size() + 60;
  for (const auto& version : key.versions) size += 150 + version.material.size() * 4 / 3;
  return size;
}

std::int64_t number(const json_t* object, const char* name) {
  return json_integer_value(json_object_get(object, name));
}

std::string text(const json_t* object, const char* name) {
  const json_t* value = json_object_get(object, name);
  return json_is_string(value) ? std::string(hadoop::text_of(value)) : std::string();
}

void count(BackupTotals& totals, const KeyRecord& key) {
  ++totals.keys;
  if (key.deleted_ms.has_value()) ++totals.deleted;
  totals.versions += static_cast<std::int64_t>(key.versions.size());
}

}  // namespace

Result<BackupWriter> BackupWriter::create(const std::string& file, CmsRecipients recipients,
                                          const std::string& source) {
  Bytes random(16);
  KMS_TRY(fill_public(random));
  auto there = stat_file(file);
  if (!there.ok()) return std::move(there).error();
  if (there->exists) return io_error("create", file, EEXIST);
  BackupWriter made(file, std::move(recipients));
  made.totals_.id = base64url_encode(random);
  made.totals_.source = source;
  made.totals_.made_ms = now_ms();
  made.fd_ = Fd(
      ::open(made.partial().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!made.fd_.valid()) return io_error("create", made.partial(), errno);
  return made;
}

BackupWriter::~BackupWriter() {
  if (fd_.valid()) (void)::unlink(partial().c_str());
}

Result<void> BackupWriter::add(KeyRecord key) {
  count(totals_, key);
  size_ += size_of(key);
  keys_.push_back(std::move(key));
  return size_ >= kPartSize ? write_part(false) : Result<void>();
}

Result<void> BackupWriter::write_part(bool last) {
  JsonPtr head(json_object());
  hadoop::set_text(head.get(), "format", kFormat);
  json_object_set_new(head.get(), "version", json_integer(kVersion));
  hadoop::set_text(head.get(), "backup", totals_.id);
  json_object_set_new(head.get(), "part", json_integer(++totals_.parts));
  if (last) {
    json_t* end = json_object();
    json_object_set_new(head.get(), "end", end);
    hadoop::set_text(end, "source", totals_.source);
    json_object_set_new(end, "made", json_integer(totals_.made_ms));
    json_object_set_new(end, "keys", json_integer(totals_.keys));
    json_object_set_new(end, "deleted", json_integer(totals_.deleted));
    json_object_set_new(end, "versions", json_integer(totals_.versions));
    json_t* left_out = json_array();
    json_object_set_new(end, "left_out", left_out);
    for (const std::string& what : totals_.left_out)
      json_array_append_new(left_out, json_stringn(what.data(), what.size()));
  }
  const Secret plain = records_text(std::move(head), keys_);
  keys_.clear();
  size_ = 0;
  auto sealed = recipients_.seal(plain.view());
  if (!sealed.ok()) return std::move(sealed).error();
  return write_all(fd_.get(), as_bytes(*sealed), partial());
}

Result<BackupTotals> BackupWriter::finish() {
  KMS_TRY(write_part(true));
  if (::fsync(fd_.get()) != 0) return io_error("sync", partial(), errno);
  KMS_TRY(rename_file(partial(), file_));
  fd_ = Fd();
  KMS_TRY(sync_path(directory_of(file_)));
  return totals_;
}

Result<BackupReader> BackupReader::open(const std::string& file, const CmsKey& key) {
  auto opened = CmsFile::open(file);
  if (!opened.ok()) return std::move(opened).error();
  return BackupReader(file, std::move(*opened), key);
}

Error BackupReader::damaged(const std::string& why) const {
  return Error(ErrorKind::corrupt, path_ + ": it is damaged: " + why);
}

Result<std::optional<std::vector<KeyRecord>>> BackupReader::next() {
  auto plain = file_.next(*key_);
  if (!plain.ok()) return std::move(plain).error();
  if (!plain->has_value()) {
    if (!ended_)
      return damaged(totals_.parts == 0 ? "there is no backup in it" : "its end is missing");
    return std::optional<std::vector<KeyRecord>>();
  }
  if (ended_) return damaged("something follows its end");
  auto parsed = parse_records((*plain)->view());
  if (!parsed.ok()) return damaged(parsed.error().message);
  KMS_TRY(check_head(parsed->head.get(), parsed->keys));
  return std::optional<std::vector<KeyRecord>>(std::move(parsed->keys));
}

Result<void> BackupReader::check_head(const json_t* head, const std::vector<KeyRecord>& keys) {
  if (text(head, "format") != kFormat) return damaged("it is no backup of a key store");
  if (number(head, "version") != kVersion)
    return Error(ErrorKind::unsupported, path_ + ": it is of a newer version of this program");
  const std::string id = text(head, "backup");
  if (totals_.parts == 0) totals_.id = id;
  if (id != totals_.id) return damaged("a part of another backup is in it");
  if (number(head, "part") != ++totals_.parts)
    return damaged("part " + std::to_string(totals_.parts) + " is not in its place");
  for (const KeyRecord& key : keys) count(totals_, key);
  const json_t* end = json_object_get(head, "end");
  return end != nullptr ? check_end(end) : Result<void>();
}

Result<void> BackupReader::check_end(const json_t* end) {
  ended_ = true;
  if (number(end, "keys") != totals_.keys || number(end, "deleted") != totals_.deleted ||
      number(end, "versions") != totals_.versions)
    return damaged("its counts are wrong");
  totals_.source = text(end, "source");
  totals_.made_ms = number(end, "made");
  const json_t* left_out = json_object_get(end, "left_out");
  for (std::size_t i = 0; i < json_array_size(left_out); ++i)
    totals_.left_out.emplace_back(hadoop::text_of(json_array_get(left_out, i)));
  return {};
}

}  // namespace kms
