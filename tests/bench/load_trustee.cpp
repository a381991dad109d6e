// SPDX-License-Identifier: Apache-2.0
// Fills a key store in a database with many keys, sealed as every key is, for measurements and
// tests. The store is on this host, and sealed with a key file:
//
//   load_trustee URI SEAL-KEY-FILE COUNT
//
// Every 100th key has three versions, every 1000th is deleted. Names: load-0000000 and so on.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "crypto/random.h"
#include "keystore/postgres/bulk.h"

namespace {

using namespace kms;

constexpr long kBatch = 1000;  // keys of one transaction
constexpr std::int64_t kCreated = 1700000000000;

Result<KeyRecord> make_key(long n) {
  char name[32];
  std::snprintf(name, sizeof name, "load-%07ld", n);
  KeyRecord key;
  key.metadata.name = name;
  key.metadata.cipher = "AES/CTR/NoPadding";
  key.metadata.bit_length = 128;
  key.metadata.created_ms = kCreated + n;
  key.metadata.versions = n % 100 == 0 ? 3 : 1;
  key.metadata.attributes = {{"key.acl.name", name}};
  if (n % 1000 == 999) key.deleted_ms = kCreated + n + 1;
  for (std::int32_t number = 0; number < key.metadata.versions; ++number) {
    Secret material(16);
    KMS_TRY(fill_private({material.data(), material.size()}));
    key.versions.push_back({number, kCreated + n, std::move(material)});
  }
  return key;
}

Result<void> load(const std::string& uri, const std::string& seal_key, long count) {
  TrusteeOptions options;
  options.seal_key_file = seal_key;
  options.ssl_mode = "disable";
  options.require_standby = false;
  auto store = postgres::BulkAccess::open(uri, options, true);
  if (!store.ok()) return std::move(store).error();
  for (long from = 0; from < count; from += kBatch) {
    std::vector<KeyRecord> keys;
    for (long n = from; n < std::min(count, from + kBatch); ++n) {
      auto key = make_key(n);
      if (!key.ok()) return std::move(key).error();
      keys.push_back(std::move(*key));
    }
    std::vector<const KeyRecord*> pointers;
    for (const KeyRecord& key : keys) pointers.push_back(&key);
    KMS_TRY(store->insert(pointers));
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s URI SEAL-KEY-FILE COUNT\n", argv[0]);
    return 2;
  }
  try {
    const auto done = load(argv[1], argv[2], std::atol(argv[3]));
    if (done.ok()) return 0;
    std::fprintf(stderr, "%s\n", done.error().message.c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
  return 1;
}
