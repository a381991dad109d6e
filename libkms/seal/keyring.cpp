// SPDX-License-Identifier: Apache-2.0
#include "seal/keyring.h"

#include "core/clock.h"

namespace kms::seal {
namespace {

Error configuration(std::string text) {
  return Error(ErrorKind::configuration, std::move(text));
}

std::string ids_of(const std::vector<KeyRecord>& records) {
  std::string out;
  for (const KeyRecord& record : records) out += (out.empty() ? "" : ", ") + record.id;
  return out.empty() ? "none" : out;
}

}  // namespace

const char* kind_word(KeySource::Kind kind) {
  constexpr const char* words[] = {"file", "passphrase", "hsm"};
  return words[static_cast<std::size_t>(kind)];
}

KeySet::KeySet(std::shared_ptr<SealingKey> only) : current_(std::move(only)) {
  keys_[current_->id()] = current_;
}

KeySet::KeySet(std::map<std::string, std::shared_ptr<SealingKey>> keys, const std::string& current)
    : keys_(std::move(keys)), current_(keys_.at(current)) {}

SealingKey* KeySet::find(const std::string& id) const {
  const auto found = keys_.find(id);
  return found != keys_.end() ? found->second.get() : nullptr;
}

Result<Bytes> KeySet::wrap(const Secret& data_key, ByteView bound) const {
  return current_->wrap(data_key, bound);
}

Result<Secret> KeySet::unwrap(const std::string& id, ByteView wrapped, ByteView bound) const {
  if (SealingKey* key = find(id)) return key->unwrap(wrapped, bound);
  std::string ours;
  for (const auto& [each, key] : keys_) ours += (ours.empty() ? "" : ", ") + each;
  return Error(ErrorKind::io, "it is sealed by the sealing key " + id + ", the one that is " +
                                  "configured is " + ours);
}

Result<std::shared_ptr<SealingKey>> Keyring::open_one(const KeySource& source,
                                                      const KeyRecord& record) {
  if (record.kind != kind_word(source.kind)) return std::shared_ptr<SealingKey>();
  Result<std::unique_ptr<SealingKey>> key = configuration("no key");
  if (source.kind == KeySource::Kind::file) {
    key = make_sealing_key("file", source.secret.clone());
  } else if (source.kind == KeySource::Kind::passphrase) {
    auto parameters = ScryptParameters::parse(record.parameters);
    if (!parameters.ok()) return std::move(parameters).error();
    auto derived = derive_sealing_key(source.secret, *parameters);
    if (!derived.ok()) return std::move(derived).error();
    key = make_sealing_key("passphrase", std::move(*derived));
  } else {
    if (Hsm::label_of(record.parameters) != source.name) return std::shared_ptr<SealingKey>();
    key = hsm_->key(record.parameters);
  }
  if (!key.ok()) return std::move(key).error();
  if ((*key)->id() != record.id) return std::shared_ptr<SealingKey>();
  return std::shared_ptr<SealingKey>(std::move(*key));
}

Result<std::shared_ptr<SealingKey>> Keyring::key_of(const KeyRecord& record) {
  if (const auto known = opened_.find(record.id); known != opened_.end()) return known->second;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    auto key = open_one(sources_[i], record);
    if (!key.ok()) return key;
    if (*key == nullptr) continue;
    source_of_[record.id] = i;
    return opened_[record.id] = std::move(*key);
  }
  return std::shared_ptr<SealingKey>();
}

Result<std::vector<std::string>> Keyring::ids_of_sources(const std::vector<KeyRecord>& records) {
  std::vector<std::string> ids(sources_.size());
  for (const KeyRecord& record : records) {
    auto key = key_of(record);
    if (!key.ok()) return std::move(key).error();
    if (*key != nullptr) ids[source_of_[record.id]] = record.id;
  }
  return ids;
}

Result<std::string> Keyring::wanted(const std::vector<KeyRecord>& records) {
  auto ids = ids_of_sources(records);
  if (!ids.ok()) return std::move(ids).error();
  return ids->front();
}

Result<std::shared_ptr<const KeySet>> Keyring::open(const std::vector<KeyRecord>& records) {
  auto ours = wanted(records);
  if (!ours.ok()) return std::move(ours).error();
  if (ours->empty())
    return configuration(
        "the configured sealing key is not the one that the store is sealed with (" +
        ids_of(records) + "); a new one becomes known by 'kmsctl seal trust'");
  std::map<std::string, std::shared_ptr<SealingKey>> keys;
  std::string current;
  for (const KeyRecord& record : records) {
    if (const auto opened = opened_.find(record.id); opened != opened_.end())
      keys[record.id] = opened->second;
    if (record.current) current = record.id;
  }
  if (keys.count(current) == 0)
    return configuration("the sealing key that the store seals with, " + current +
                         ", is not configured here: keep it as the previous one until " +
                         "'kmsctl seal rewrap' is through");
  return std::shared_ptr<const KeySet>(std::make_shared<KeySet>(std::move(keys), current));
}

Result<KeyRecord> Keyring::make_record(const pkcs11::ServingUser& user) {
  if (sources_.empty()) return configuration("no sealing key is configured");
  const KeySource& source = sources_.front();
  KeyRecord record{{}, kind_word(source.kind), "{}", false, now_ms()};
  if (source.kind == KeySource::Kind::hsm) {
    auto found = hsm_->look(source.name, user);
    if (!found.ok()) return std::move(found).error();
    record.id = found->id;
    record.parameters = found->parameters;
    return record;
  }
  if (source.kind == KeySource::Kind::passphrase) {
    auto fresh = ScryptParameters::fresh();
    if (!fresh.ok()) return std::move(fresh).error();
    record.parameters = fresh->text();
    auto derived = derive_sealing_key(source.secret, *fresh);
    if (!derived.ok()) return std::move(derived).error();
    auto key = make_sealing_key("passphrase", std::move(*derived));
    if (!key.ok()) return std::move(key).error();
    record.id = (*key)->id();
    return record;
  }
  auto key = make_sealing_key("file", source.secret.clone());
  if (!key.ok()) return std::move(key).error();
  record.id = (*key)->id();
  return record;
}

Result<void> Keyring::prove(const std::vector<KeyRecord>& records,
                            const pkcs11::ServingUser& user) {
  for (const KeyRecord& record : records) {
    if (record.kind != "hsm" || opened_.count(record.id) == 0) continue;
    auto good = hsm_->prove(record.parameters, user);
    if (!good.ok()) return good;
  }
  return {};
}

}  // namespace kms::seal
