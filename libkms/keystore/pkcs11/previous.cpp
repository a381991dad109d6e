// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/previous.h"

#include "core/clock.h"

namespace kms::pkcs11 {
namespace {

constexpr std::int64_t kTryEveryMs = 2000;
constexpr std::size_t kMostNames = 20;  // in one line of the log
constexpr const char* kProperty = "hadoop.kms.hsm.previous.uri";

std::string count_text(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " version" : " versions");
}

}  // namespace

// Under this IV the first counter block is zeros.
Result<Bytes> check_of(ByteView material) {
  const Bytes iv(kEekIvSize, 0xff), zeros(kBlock);
  Bytes block(kBlock);
  KMS_TRY(eek_crypt(material, iv, zeros, block));
  block.resize(kCheckSize);
  return block;
}

std::vector<std::string> made_since(const KeyRecord& ours, const KeyMetadata& theirs) {
  std::vector<std::string> late;
  if (ours.adopted == 0 || ours.metadata->created_ms != theirs.created_ms) return late;
  for (std::int32_t number = ours.adopted; number < theirs.versions; ++number)
    late.push_back(version_name(theirs.name, number));
  return late;
}

Result<std::vector<std::string>> made_since(const State& state, KeyStore& from) {
  std::vector<std::string> late;
  for (const auto& [name, record] : state.keys) {
    if (record.adopted == 0) continue;
    auto theirs = from.metadata(name);
    if (!theirs.ok() && theirs.error().kind == ErrorKind::unavailable)
      return std::move(theirs).error();
    if (!theirs.ok() || *theirs == nullptr) continue;
    const auto of_key = made_since(record, **theirs);
    late.insert(late.end(), of_key.begin(), of_key.end());
  }
  return late;
}

Result<void> Previous::open(std::size_t needed, bool check_only) {
  if (where_.uri.empty()) {
    if (needed == 0) return {};
    return Error(ErrorKind::configuration,
                 metadata_file_ + " has " + count_text(needed) +
                     " whose material is in the keystore that it was adopted from, and the "
                     "property " +
                     kProperty + " does not name that");
  }
  auto opened = where_.open(logger_, check_only);
  const std::lock_guard hold(mutex_);
  if (opened.ok()) {
    store_ = std::move(*opened);
    return {};
  }
  why_ = opened.error().message;
  if (!check_only || needed == 0) return {};
  return Error(ErrorKind::configuration, std::string(kProperty) + ", which has " +
                                             count_text(needed) + " of " + metadata_file_ + ": " +
                                             why_);
}

std::shared_ptr<KeyStore> Previous::store() {
  const std::lock_guard hold(mutex_);
  return store_;
}

void Previous::attach(bool needed) {
  if (const auto opened = store(); opened != nullptr && !opened->attach().ok()) {
    const std::lock_guard hold(mutex_);
    store_ = nullptr;  // poll() opens it anew, and says what is wrong
  }
  poll(needed);
}

void Previous::detach() noexcept {
  if (const auto opened = store()) opened->detach();
}

// Once it is open it stays, so that a file that is damaged later disturbs nothing before a restart.
void Previous::try_to_open(bool needed) {
  {
    const std::lock_guard hold(mutex_);
    if (store_ != nullptr || !needed || where_.uri.empty() || steady_ms() < next_try_ms_) return;
    next_try_ms_ = steady_ms() + kTryEveryMs;
  }
  auto opened = where_.open(logger_, false);
  if (opened.ok())
    if (auto attached = (*opened)->attach(); !attached.ok()) opened = std::move(attached).error();
  const std::lock_guard hold(mutex_);
  if (opened.ok()) {
    store_ = std::move(*opened);
    if (said_) log(LogLevel::notice, "KMS0171", "the previous keystore " + where_.uri + " is open");
    said_ = false;
    return;
  }
  why_ = opened.error().message;
  if (said_) return;
  said_ = true;
  log(LogLevel::error, "KMS0170",
      "the previous keystore " + where_.uri +
          " cannot be opened; EEKs of versions that are there are refused: " + why_);
}

void Previous::note_health(bool needed) {
  const auto opened = store();
  if (!needed || (opened != nullptr && opened->condition().state == HealthState::good))
    health_.good();
  else
    health_.set(HealthState::degraded,
                "the previous keystore is not to be had; EEKs of key versions that are still there "
                "are refused");
}

void Previous::poll(bool needed) {
  try_to_open(needed);
  if (const auto opened = store()) opened->poll();
  note_health(needed);
}

void Previous::look_for_late_ones(const State& state) {
  std::shared_ptr<KeyStore> opened;
  {
    const std::lock_guard hold(mutex_);
    if (store_ == nullptr || looked_) return;
    looked_ = true;
    opened = store_;
  }
  const auto late = made_since(state, *opened);
  if (!late.ok() || late->empty()) return;
  std::string names;
  for (std::size_t i = 0; i < late->size() && i < kMostNames; ++i)
    names += (i == 0 ? "" : ", ") + (*late)[i];
  if (late->size() > kMostNames) names += " and others";
  log(LogLevel::error, "KMS0174",
      "the previous keystore " + where_.uri + " made " + count_text(late->size()) +
          " after the keys were adopted: what was encrypted by them cannot be read here, as the "
          "HSM has others of these names: " +
          names);
}

Error Previous::refuse(const TokenVersion& version, const std::string& why) {
  const std::string text = "The previous keystore " + where_.uri + why + version.version_name;
  const std::lock_guard hold(mutex_);
  if (refused_.insert(version.version_name).second) log(LogLevel::error, "KMS0172", text);
  return Error(ErrorKind::corrupt, text);
}

Result<VersionPtr> Previous::find(const TokenVersion& version) {
  const auto opened = store();
  if (opened == nullptr) {
    const std::lock_guard hold(mutex_);
    Error error(ErrorKind::unavailable,
                version.version_name + " is not in the HSM, and the keystore that it is in " +
                    (where_.uri.empty() ? std::string("is not named by ") + kProperty
                                        : "cannot be opened: " + why_));
    error.retry_after_s = kTryEveryMs / 1000;
    return error;
  }
  auto found = opened->version(version.version_name);
  if (!found.ok()) return found;
  if (*found == nullptr) return refuse(version, " does not have ");
  const ByteView material = (*found)->material.view();
  if (material.size() * 8 != static_cast<std::size_t>(version.key->bits))
    return refuse(version, " has a key of another length as ");
  auto check = check_of(material);
  if (!check.ok()) return std::move(check).error();
  if (*check != version.key->check) return refuse(version, " has another key as ");
  return found;
}

}  // namespace kms::pkcs11
