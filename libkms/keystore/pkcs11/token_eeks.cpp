// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/token_eeks.h"

#include "crypto/random.h"

namespace kms::pkcs11 {
namespace {

// What the token would answer: a block of zeros under a counter is the encryption of the counter.
Result<Secret> software_stream(const Secret& kek, ByteView counters) {
  auto cipher = EekCipher::create(kek.view());
  if (!cipher.ok()) return std::move(cipher).error();
  Secret out(counters.size());
  const std::array<std::uint8_t, kBlock> zeros{};
  std::array<std::uint8_t, kEekIvSize> iv{};
  for (std::size_t at = 0; at < counters.size(); at += kBlock) {
    for (std::size_t i = 0; i < kBlock; ++i) iv[i] = static_cast<std::uint8_t>(~counters[at + i]);
    KMS_TRY(cipher->crypt(iv, zeros, {out.data() + at, kBlock}));
  }
  return out;
}

Result<Bytes> counters_of(std::span<const WrappedDek> eeks) {
  Bytes counters;
  for (const WrappedDek& eek : eeks)
    KMS_TRY(append_eek_counters(eek.iv, eek.material.size(), counters));
  return counters;
}

}  // namespace

std::size_t EekKey::size() const {
  return in_token != nullptr ? static_cast<std::size_t>(in_token->bits) / 8 : software->size();
}

Result<Secret> TokenEeks::stream(const EekKey& key, ByteView counters) {
  return key.in_token != nullptr ? token_.encrypt(key.in_token, counters)
                                 : software_stream(*key.software, counters);
}

Result<std::vector<Eek>> TokenEeks::make(const VersionPtr& kek, const EekKey& key,
                                         std::size_t count) {
  std::vector<Eek> eeks;
  const std::size_t size = key.size();
  Bytes counters;
  eeks.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Eek& eek = eeks.emplace_back();
    eek.wrapped_by = kek;
    KMS_TRY(fill_public(eek.iv));
    KMS_TRY(append_eek_counters(eek.iv, size, counters));
  }
  auto over = stream(key, counters);
  if (!over.ok()) return std::move(over).error();
  const std::size_t step = counters.size() / count;
  Secret dek(size);
  for (std::size_t i = 0; i < count; ++i) {
    KMS_TRY(fill_private({dek.data(), size}));
    eeks[i].material.resize(size);
    eek_xor(dek.view(), over->view().subspan(i * step, size), eeks[i].material);
  }
  return eeks;
}

Result<Secret> TokenEeks::decrypt(const EekKey& key, ByteView iv, ByteView eek) {
  Bytes counters;
  KMS_TRY(append_eek_counters(iv, eek.size(), counters));
  auto over = stream(key, counters);
  if (!over.ok()) return std::move(over).error();
  Secret dek(eek.size());
  eek_xor(eek, over->view().first(eek.size()), {dek.data(), dek.size()});
  return dek;
}

Result<void> TokenEeks::check(std::span<const WrappedDek> eeks) {
  auto counters = counters_of(eeks);
  return counters.ok() ? Result<void>() : std::move(counters).error();
}

// The DEK itself never stands in memory: both keystreams are laid over the EEK.
Result<void> TokenEeks::reencrypt(const EekKey& from, const EekKey& to,
                                  std::span<WrappedDek> eeks) {
  auto counters = counters_of(eeks);
  if (!counters.ok()) return std::move(counters).error();
  auto old_stream = stream(from, *counters);
  if (!old_stream.ok()) return std::move(old_stream).error();
  auto new_stream = stream(to, *counters);
  if (!new_stream.ok()) return std::move(new_stream).error();
  std::size_t at = 0;
  Secret both;
  for (WrappedDek& eek : eeks) {
    const std::size_t size = eek.material.size();
    if (both.size() != size) both = Secret(size);
    eek_xor(old_stream->view().subspan(at, size), new_stream->view().subspan(at, size),
            {both.data(), size});
    eek_xor(eek.material, both.view(), eek.material);
    at += (size + kBlock - 1) / kBlock * kBlock;
  }
  return {};
}

}  // namespace kms::pkcs11
