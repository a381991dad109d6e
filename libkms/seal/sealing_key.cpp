// SPDX-License-Identifier: Apache-2.0
#include "seal/sealing_key.h"

#include "core/hex.h"
#include "crypto/hmac.h"
#include "seal/aead.h"
#include "seal/private_file.h"

namespace kms::seal {
namespace {

class HeldKey final : public SealingKey {
 public:
  HeldKey(std::string id, Secret key) : id_(std::move(id)), key_(std::move(key)) {}

  const std::string& id() const override { return id_; }
  Result<Bytes> wrap(const Secret& data_key, ByteView bound) override {
    return aead_seal(key_.view(), bound, data_key.view());
  }
  Result<Secret> unwrap(ByteView wrapped, ByteView bound) override {
    return aead_open(key_.view(), bound, wrapped);
  }

 private:
  const std::string id_;
  const Secret key_;
};

}  // namespace

Result<std::unique_ptr<SealingKey>> make_sealing_key(const std::string& kind, Secret key) {
  if (key.size() != kAeadKeySize)
    return Error(ErrorKind::configuration, "a sealing key has 32 bytes");
  auto mac = hmac_sha256(key.view(), as_bytes("mod_kms: name of a sealing key"));
  if (!mac.ok()) return std::move(mac).error();
  std::string id = kind + "-" + hex_text(ByteView(*mac).first(8));
  return std::unique_ptr<SealingKey>(std::make_unique<HeldKey>(std::move(id), std::move(key)));
}

Result<Secret> read_key_file(const std::string& path) {
  const std::string what = "sealing key file";
  auto key = read_private_file(path, what, 4096);
  if (key.ok() && key->size() != kAeadKeySize)
    return Error(ErrorKind::configuration,
                 what + " " + path + ": a sealing key has exactly 32 bytes, binary");
  return key;
}

}  // namespace kms::seal
