// SPDX-License-Identifier: Apache-2.0
// Lookups and the cryptography of EEKs.
#include "keystore/pkcs11/store.h"

#include "core/clock.h"
#include "keystore/jceks/alias.h"

namespace kms::pkcs11 {
namespace {

using jceks::FoldedAlias;

const TokenVersion& token_version(const VersionPtr& version) {
  // Every version that this store gives out is one.
  return static_cast<const TokenVersion&>(*version);
}

}  // namespace

TokenStore::TokenStore(StoreOptions options, TokenAccess access, Logger& logger, StatePtr first,
                       bool check_only)
    : options_(std::move(options)),
      access_(std::move(access)),
      logger_(logger),
      check_only_(check_only),
      file_(parse_store_uri(options_.uri)->path, {options_.owner_uid, options_.owner_gid},
            options_.lock_timeout_ms, logger, std::move(first)),
      token_(access_.options, access_.address, access_.pin.clone(), logger,
             std::make_shared<PinGuard>()),
      previous_(options_.previous, file_.path(), logger),
      uses_({options_.owner_uid, options_.owner_gid}, logger),
      eeks_(token_),
      queue_(options_.hsm.eek_queue, [this](const VersionPtr& kek, std::size_t count) {
        return eeks_.make(kek, {token_version(kek).key, nullptr}, count);
      }) {}

TokenStore::~TokenStore() {
  detach();
}

Health TokenStore::condition() const noexcept {
  const Health token = token_.condition();
  if (token.state != HealthState::good) return token;
  const Health file = file_.condition();
  return file.state != HealthState::good ? file : previous_.condition();
}

Result<void> TokenStore::open_previous() {
  const StatePtr state = file_.latest();
  KMS_TRY(previous_.open(state->outside(), check_only_));
  if (check_only_) previous_.look_for_late_ones(*state);
  return {};
}

Result<void> TokenStore::attach() {
  if (check_only_) return {};
  // Before this process has threads.
  access_.set_environment();
  auto opened = file_.attach();
  token_.start();
  previous_.attach(file_.latest()->outside() > 0);
  return opened;
}

void TokenStore::detach() noexcept {
  token_.stop();
  queue_.stop();
  previous_.detach();
  now_and_then([this] { uses_.save(file_, true); });
}

// What fails here is done the next time.
void TokenStore::now_and_then(const std::function<void()>& work) noexcept {
  try {
    work();
  } catch (const std::exception& e) {
    log(LogLevel::error, "KMS0152", e.what());
  }
}

void TokenStore::poll() noexcept {
  if (check_only_) return;
  now_and_then([this] {
    file_.poll();
    mend_pending();
    queue_.expire();
    const StatePtr state = file_.latest();
    previous_.poll(state->outside() > 0);
    previous_.look_for_late_ones(*state);
    uses_.save(file_, false);
  });
}

Result<void> TokenStore::invalidate(std::string_view name) {
  if (!check_only_) file_.look();
  queue_.drop(FoldedAlias(name).view());
  return {};
}

KeyStoreSize TokenStore::size() {
  const StatePtr state = file_.latest();
  KeyStoreSize size;
  size.keys = static_cast<std::int64_t>(state->keys.size());
  for (const auto& [name, record] : state->keys)
    size.versions += static_cast<std::int64_t>(record.versions.size());
  return size;
}

Result<std::vector<std::string>> TokenStore::names() {
  auto seen = file_.state();
  if (!seen.ok()) return std::move(seen).error();
  std::vector<std::string> out;
  for (const auto& [name, record] : (*seen)->keys) out.push_back(name);
  return out;
}

Result<MetadataPtr> TokenStore::metadata(std::string_view name) {
  auto seen = file_.state();
  if (!seen.ok()) return std::move(seen).error();
  const KeyRecord* record = (*seen)->find(FoldedAlias(name).view());
  return record != nullptr ? record->metadata : MetadataPtr();
}

Result<VersionPtr> TokenStore::version(std::string_view version_name) {
  const auto base = base_name(version_name);
  if (!base) return VersionPtr();
  auto found = versions(*base);
  if (!found.ok()) return std::move(found).error();
  const FoldedAlias wanted(version_name);
  for (VersionPtr& each : *found)
    if (each->version_name == wanted.view()) return std::move(each);
  return VersionPtr();
}

Result<VersionPtr> TokenStore::current_version(std::string_view name) {
  auto seen = file_.state();
  if (!seen.ok()) return std::move(seen).error();
  const KeyRecord* record = (*seen)->find(FoldedAlias(name).view());
  if (record == nullptr || record->versions.empty()) return VersionPtr();
  const TokenVersionPtr& last = record->versions.back();
  return last->number == record->metadata->versions - 1 ? VersionPtr(last) : VersionPtr();
}

Result<std::vector<VersionPtr>> TokenStore::versions(std::string_view name) {
  auto seen = file_.state();
  if (!seen.ok()) return std::move(seen).error();
  const KeyRecord* record = (*seen)->find(FoldedAlias(name).view());
  if (record == nullptr) return std::vector<VersionPtr>();
  return std::vector<VersionPtr>(record->versions.begin(), record->versions.end());
}

Result<std::vector<Eek>> TokenStore::generate_eeks(std::string_view name, std::size_t count) {
  auto current = current_version(name);
  if (!current.ok()) return std::move(current).error();
  if (*current != nullptr && count > 0) {
    uses_.note((*current)->version_name);
    return queue_.take(*current, token_version(*current).key->id, count);
  }
  if (*current == nullptr) queue_.drop(FoldedAlias(name).view());
  return std::vector<Eek>();
}

// Its material, where the version is in the previous keystore.
Result<EekKey> TokenStore::eek_key(const VersionPtr& version) {
  const TokenVersion& own = token_version(version);
  if (!own.outside()) return EekKey{own.key, nullptr};
  auto found = previous_.find(own);
  if (!found.ok()) return std::move(found).error();
  return EekKey{nullptr, {*found, &(*found)->material}};
}

Result<Secret> TokenStore::decrypt_eek(const VersionPtr& kek, ByteView iv, ByteView eek) {
  uses_.note(kek->version_name);
  auto key = eek_key(kek);
  if (!key.ok()) return std::move(key).error();
  return eeks_.decrypt(*key, iv, eek);
}

Result<void> TokenStore::reencrypt_eeks(const VersionPtr& from, const VersionPtr& to,
                                        std::span<WrappedDek> eeks) {
  if (from == to) return TokenEeks::check(eeks);
  uses_.note(from->version_name);
  uses_.note(to->version_name);
  auto old_key = eek_key(from);
  if (!old_key.ok()) return std::move(old_key).error();
  auto new_key = eek_key(to);
  if (!new_key.ok()) return std::move(new_key).error();
  return eeks_.reencrypt(*old_key, *new_key, eeks);
}

}  // namespace kms::pkcs11
