// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "seal/hsm.h"
#include "seal/sealing_key.h"

namespace kms::seal {

// Where one sealing key comes from, with the content of its file.
struct KeySource {
  enum class Kind { file, passphrase, hsm };
  Kind kind = Kind::file;
  std::string name;  // path of the file; label of the key in the token
  Secret secret;     // the key; the passphrase
};
const char* kind_word(KeySource::Kind kind);  // "file", "passphrase", "hsm"

// The sealing keys that a process may use, by id; immutable. One seals, all open.
class KeySet {
 public:
  explicit KeySet(std::shared_ptr<SealingKey> only);
  KeySet(std::map<std::string, std::shared_ptr<SealingKey>> keys, const std::string& current);

  const std::string& id() const { return current_->id(); }
  bool has(const std::string& id) const { return keys_.count(id) != 0; }
  // Wraps under the current key.
  Result<Bytes> wrap(const Secret& data_key, ByteView bound) const;
  // Errors: as of SealingKey; io when the key of this id is not among ours.
  Result<Secret> unwrap(const std::string& id, ByteView wrapped, ByteView bound) const;
  SealingKey* find(const std::string& id) const;

 private:
  std::map<std::string, std::shared_ptr<SealingKey>> keys_;
  std::shared_ptr<SealingKey> current_;
};

// What a store remembers of a sealing key that it trusts. No secrets.
struct KeyRecord {
  std::string id, kind, parameters;
  bool current = false;  // the one that seals
  std::int64_t created_ms = 0;
};

// The configured sources of a process and the keys that were opened of them. One thread at a time.
class Keyring {
 public:
  // The first source is the one that the configuration wants; the others still open. hsm is there
  // when one of them is in a token.
  Keyring(std::vector<KeySource> sources, std::unique_ptr<Hsm> hsm)
      : sources_(std::move(sources)), hsm_(std::move(hsm)) {}

  // Those keys of the record that we have. Opened once: a passphrase takes 0.1 s. An error
  // (configuration) when the first source is none of them, or when the current one is not ours: a
  // foreign key, or a foreign HSM.
  Result<std::shared_ptr<const KeySet>> open(const std::vector<KeyRecord>& records);
  // The id of the record that each source is; empty: none.
  Result<std::vector<std::string>> ids_of_sources(const std::vector<KeyRecord>& records);
  // That of the first one.
  Result<std::string> wanted(const std::vector<KeyRecord>& records);
  // What a store is to remember of the first source. Asks the token, in a process of its own.
  Result<KeyRecord> make_record(const pkcs11::ServingUser& user);
  // Whether the keys in the token are there and stay inside, in a process of its own. Nothing to do
  // without one. Errors: configuration.
  Result<void> prove(const std::vector<KeyRecord>& records, const pkcs11::ServingUser& user);

  const std::vector<KeySource>& sources() const { return sources_; }
  Hsm* hsm() const { return hsm_.get(); }  // null: no key is in a token

 private:
  Result<std::shared_ptr<SealingKey>> open_one(const KeySource& source, const KeyRecord& record);
  Result<std::shared_ptr<SealingKey>> key_of(const KeyRecord& record);

  const std::vector<KeySource> sources_;
  const std::unique_ptr<Hsm> hsm_;
  std::map<std::string, std::shared_ptr<SealingKey>> opened_;
  std::map<std::string, std::size_t> source_of_;  // of the opened ones
};

}  // namespace kms::seal
