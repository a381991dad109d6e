// SPDX-License-Identifier: Apache-2.0
// Look-ups, EEKs, and the life of the store in a process.
#include "keystore/pkcs11/shared_store.h"

#include "keystore/jceks/alias.h"

namespace kms::pkcs11 {
namespace {

const SharedVersion& shared_of(const VersionPtr& version) {
  // Every version that this store gives out is one.
  return static_cast<const SharedVersion&>(*version);
}

EekKey eek_key(const VersionPtr& version) {
  const SharedVersion& shared = shared_of(version);
  return {shared.key, {version, &shared.software}};
}

}  // namespace

Result<VersionPtr> shared_version(KeyVersion sealed, std::int32_t bits) {
  auto made = std::make_shared<SharedVersion>();
  made->name = std::move(sealed.name);
  made->version_name = std::move(sealed.version_name);
  if (!is_reference(sealed.material.view(), bits)) {
    made->software = std::move(sealed.material);
    return VersionPtr(std::move(made));
  }
  auto reference = parse_reference(sealed.material.view());
  if (!reference.ok()) return std::move(reference).error();
  if (reference->label != made->version_name || reference->bits != bits ||
      reference->check.size() != kCheckSize)
    return Error(ErrorKind::corrupt, made->version_name + " has the reference of another version");
  made->key = std::make_shared<const KeyRef>(KeyRef{
      std::move(reference->id), std::move(reference->label), bits, std::move(reference->check)});
  return VersionPtr(std::move(made));
}

SharedStore::SharedStore(StoreOptions options, TokenAccess access, std::shared_ptr<Token> token,
                         std::unique_ptr<KeyStore> base, std::shared_ptr<SharedWord> next_mending,
                         Logger& logger, bool check_only)
    : options_(std::move(options)),
      access_(std::move(access)),
      logger_(logger),
      check_only_(check_only),
      next_mending_(std::move(next_mending)),
      base_(std::move(base)),
      shared_token_(std::move(token)),
      token_(*shared_token_),
      eeks_(token_),
      queue_(options_.hsm.eek_queue, [this](const VersionPtr& kek, std::size_t count) {
        return eeks_.make(kek, eek_key(kek), count);
      }) {}

SharedStore::~SharedStore() {
  detach();
}

Health SharedStore::condition() const noexcept {
  const Health token = token_.condition(), base = base_->condition();
  return token.state >= base.state ? token : base;
}

Result<void> SharedStore::attach() {
  if (check_only_) return {};
  // Before this process has threads.
  access_.set_environment();
  // The keys that seal the store below may be in it.
  token_.start();
  return base_->attach();
}

void SharedStore::detach() noexcept {
  base_->detach();
  token_.stop();
  queue_.stop();
}

void SharedStore::poll() noexcept {
  if (check_only_) return;
  base_->poll();
  try {
    mend_pending();
    queue_.expire();
  } catch (const std::exception& e) {
    log(LogLevel::error, "KMS0162", e.what());
  }
}

Result<void> SharedStore::invalidate(std::string_view name) {
  queue_.drop(jceks::FoldedAlias(name).view());
  return base_->invalidate(name);
}

// The version is looked at for each answer, so EEKs of one that is not the current one any more are
// given to nobody.
Result<std::vector<Eek>> SharedStore::generate_eeks(std::string_view name, std::size_t count) {
  auto current = base_->current_version(name);
  if (!current.ok()) return std::move(current).error();
  if (*current == nullptr) queue_.drop(jceks::FoldedAlias(name).view());
  if (*current == nullptr || count == 0) return std::vector<Eek>();
  const SharedVersion& version = shared_of(*current);
  if (version.key == nullptr) return eeks_.make(*current, eek_key(*current), count);
  return queue_.take(*current, version.key->id, count);
}

Result<Secret> SharedStore::decrypt_eek(const VersionPtr& kek, ByteView iv, ByteView eek) {
  return eeks_.decrypt(eek_key(kek), iv, eek);
}

Result<void> SharedStore::reencrypt_eeks(const VersionPtr& from, const VersionPtr& to,
                                         std::span<WrappedDek> eeks) {
  return from == to ? TokenEeks::check(eeks) : eeks_.reencrypt(eek_key(from), eek_key(to), eeks);
}

}  // namespace kms::pkcs11
