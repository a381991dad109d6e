// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aes_key.h"
#include "core/log.h"
#include "keystore/jceks/container.h"
#include "keystore/jceks/jceks_store.h"
#include "keystore/jceks/key_codec.h"
#include "temp_dir.h"
#include "unit.h"

namespace unit {

inline void write_file(const std::string& path, std::string_view data) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(data.data(), static_cast<std::streamsize>(data.size()));
  out.close();
  if (!out) _fail(path.c_str(), 0);
}

inline bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// Keeps the ids of what was logged.
class Log final : public kms::Logger {
 public:
  void log(kms::LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard hold(mutex_);
    ids_.emplace_back(id);
    last_ = text;
  }
  std::size_t count(std::string_view id) {
    const std::lock_guard hold(mutex_);
    std::size_t n = 0;
    for (const auto& each : ids_) n += each == id;
    return n;
  }
  std::string last() {
    const std::lock_guard hold(mutex_);
    return last_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> ids_;
  std::string last_;
};

inline kms::jceks::JceksOptions options_for(const std::string& path) {
  kms::jceks::JceksOptions options;
  options.uri = "jceks://file@" + path;
  options.path = path;
  options.iterations = kms::jceks::kMinIterations;
  return options;
}

using StoreResult = kms::Result<std::unique_ptr<kms::KeyStore>>;

inline StoreResult try_open(const std::string& path, kms::Logger& log,
                            std::string_view password = "none", bool check_only = false) {
  return kms::jceks::open_store(options_for(path), kms::Secret(password), log, check_only);
}

// Opened and attached, or the test fails.
inline std::unique_ptr<kms::KeyStore> open_or_fail(const std::string& path, kms::Logger& log,
                                                   std::string_view password = "none") {
  auto store = try_open(path, log, password);
  if (!store.ok()) _fail(store.error().message.c_str(), 0);
  if (auto attached = (*store)->attach(); !attached.ok())
    _fail(attached.error().message.c_str(), 0);
  return std::move(*store);
}

template <class T>
T must(kms::Result<T>&& result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
  return std::move(*result);
}

template <class T>
void assert_error(const kms::Result<T>& result, kms::ErrorKind kind, std::string_view text) {
  assert_false(result.ok());
  if (result.error().message.find(text) == std::string::npos || result.error().kind != kind)
    print_message("kind %d: %s\n", static_cast<int>(result.error().kind),
                  result.error().message.c_str());
  assert_true(result.error().message.find(text) != std::string::npos);
  assert_true(result.error().kind == kind);
}

// A keystore of count keys "key-N" with one version each, sealed at almost no cost.
inline kms::Bytes cheap_keystore(int count, std::string_view password = "none") {
  kms::jceks::ContainerWriter out(static_cast<std::uint32_t>(count) * 2, 1024);
  const kms::Secret secret(password);
  kms::jceks::StoredMetadata metadata;
  metadata.cipher = "AES/CTR/NoPadding";
  metadata.bit_length = 128;
  metadata.created_ms = 1700000000000;
  metadata.versions = 1;
  for (int i = 0; i < count; ++i) {
    const std::string name = "key-" + std::to_string(i);
    const auto meta =
        kms::jceks::seal_key(kms::jceks::encode_metadata(metadata).view(), secret.view(), 1);
    kms::Bytes material(16, static_cast<std::uint8_t>(i));
    const auto version = kms::jceks::seal_key(
        kms::jceks::encode_secret_key(*metadata.cipher, material).view(), secret.view(), 1);
    out.add(kms::jceks::EntryTag::secret_key, name, 1700000000000, *meta);
    out.add(kms::jceks::EntryTag::secret_key, name + "@0", 1700000000000, *version);
  }
  return *out.finish(secret.view());
}

inline std::vector<kms::jceks::RawEntry> entries_of(const std::string& path,
                                                    std::string_view password = "none") {
  const std::string data = read_file(path);
  return must(kms::jceks::parse_container(kms::as_bytes(data), kms::as_bytes(password))).entries;
}

inline void write_file(const std::string& path, kms::ByteView data) {
  write_file(path, kms::as_text(data));
}

}  // namespace unit
