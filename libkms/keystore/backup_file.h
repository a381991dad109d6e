// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/file_io.h"
#include "keystore/key_record.h"
#include "seal/cms.h"

namespace kms {

// What a backup says of itself in its last part.
struct BackupTotals {
  std::string id;      // random
  std::string source;  // URI of the store
  std::int64_t made_ms = 0;
  std::int64_t keys = 0, deleted = 0, versions = 0, parts = 0;  // keys: deleted ones included
  std::vector<std::string> left_out;  // keys and versions that could not be read
};

// Writes a backup: a file of CMS messages in PEM, each of about a MiB. Each holds JSON, the id of
// the backup, the number of the part and keys; the last one the totals as well. So parts that are
// missing, in another order or of another backup are noticed. One object for one thread.
class BackupWriter {
 public:
  // The file must not exist. Until finish() its content is in FILE.part.
  static Result<BackupWriter> create(const std::string& file, CmsRecipients recipients,
                                     const std::string& source);
  BackupWriter(BackupWriter&&) = default;
  BackupWriter& operator=(BackupWriter&&) = delete;
  ~BackupWriter();  // takes away what was not finished

  Result<void> add(KeyRecord key);
  void leave_out(const std::string& what) { totals_.left_out.push_back(what); }
  // The last part; then the file is durable and has its name.
  Result<BackupTotals> finish();

 private:
  BackupWriter(std::string file, CmsRecipients recipients)
      : file_(std::move(file)), recipients_(std::move(recipients)) {}
  std::string partial() const { return file_ + ".part"; }
  Result<void> write_part(bool last);

  std::string file_;
  CmsRecipients recipients_;
  Fd fd_;
  BackupTotals totals_;
  std::vector<KeyRecord> keys_;  // of the part that is being made
  std::size_t size_ = 0;         // about
};

// Reads one from its begin to its end.
class BackupReader {
 public:
  static Result<BackupReader> open(const std::string& file, const CmsKey& key);
  // The keys of the next part, which may be none; nullopt after the last one, whose totals were
  // found to be right. Errors: corrupt, wrong_password.
  Result<std::optional<std::vector<KeyRecord>>> next();
  const BackupTotals& totals() const { return totals_; }  // complete after the last part
  std::int64_t position() const { return file_.position(); }

 private:
  BackupReader(std::string path, CmsFile file, const CmsKey& key)
      : path_(std::move(path)), file_(std::move(file)), key_(&key) {}
  Error damaged(const std::string& why) const;
  Result<void> check_head(const json_t* head, const std::vector<KeyRecord>& keys);
  Result<void> check_end(const json_t* end);

  std::string path_;
  CmsFile file_;
  const CmsKey* key_;
  BackupTotals totals_;
  bool ended_ = false;
};

}  // namespace kms
