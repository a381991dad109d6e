// SPDX-License-Identifier: Apache-2.0
// Keys of other keystores: how the HSM comes to them, and what is left of them elsewhere. For
// kmsctl: a process that serves nothing.
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>

#include "core/clock.h"
#include "keystore/checks.h"
#include "keystore/jceks/alias.h"
#include "keystore/pkcs11/store.h"
#include "keystore/pkcs11/token_objects.h"
#include "pkcs11/apart.h"

namespace kms::pkcs11 {
namespace {

using Became = Adoption::State;

constexpr std::int64_t kDayMs = 24 * 3'600'000LL;

std::string versions_text(const std::string& name, std::int32_t from, std::int32_t to) {
  const std::string first = version_name(name, from);
  return from == to ? first : first + " to " + version_name(name, to);
}

// Of a key that the file has by now: whether it is this one, as it was adopted.
Adoption compare(const KeyRecord& ours, const KeyMetadata& theirs) {
  if (ours.adopted == 0) return {Became::different, "it was made in the HSM"};
  if (ours.metadata->created_ms != theirs.created_ms || theirs.versions < ours.adopted)
    return {Became::different, "it was adopted, and made anew in the other keystore since"};
  if (!made_since(ours, theirs).empty())
    return {Became::rolled_since,
            versions_text(theirs.name, ours.adopted, theirs.versions - 1) +
                " of the other keystore came after the key was adopted, and the HSM has versions "
                "of the same names: what they encrypted cannot be read here"};
  return {Became::already_there, {}};
}

// The record that the key shall get, but for the version that the HSM makes.
Result<KeyRecord> record_of(const KeyMetadata& theirs, const std::vector<VersionPtr>& versions) {
  const auto refuse = [](const std::string& why) { return Error(ErrorKind::unsupported, why); };
  if (theirs.state != KeyState::active)
    return refuse("its state is " + std::string(key_state_name(theirs.state)) +
                  ", and keys in an HSM have none");
  KMS_TRY(check_kind(theirs.cipher, theirs.bit_length));
  KMS_TRY(check_import(theirs, versions));
  if (versions.empty()) return refuse("it has no version");
  if (theirs.versions == std::numeric_limits<std::int32_t>::max())
    return refuse("it has no version number left");
  KeyRecord record;
  record.metadata = std::make_shared<KeyMetadata>(theirs);
  record.adopted = theirs.versions;
  std::int32_t number = 0;
  for (const VersionPtr& each : versions) {
    while (each->version_name != version_name(theirs.name, number)) ++number;
    if (each->material.size() * 8 != static_cast<std::size_t>(theirs.bit_length))
      return refuse(each->version_name + " is not as long as the key says");
    auto check = check_of(each->material.view());
    if (!check.ok()) return std::move(check).error();
    auto version = std::make_shared<TokenVersion>();
    version->name = theirs.name;
    version->version_name = each->version_name;
    version->number = number;
    version->key = std::make_shared<const KeyRef>(
        KeyRef{{}, each->version_name, theirs.bit_length, std::move(*check)});
    record.versions.push_back(std::move(version));
  }
  return record;
}

// Says so where the other keystore has lost versions: their EEKs are lost with them.
std::string remark_on(const KeyRecord& record) {
  const std::size_t lost = static_cast<std::size_t>(record.adopted) - record.versions.size();
  return lost == 0 ? std::string()
                   : std::to_string(lost) + " of its versions are missing in the other keystore";
}

Result<Adoption> adopt_key(const State& state, TokenStore* store, KeyStore& from,
                           const std::string& name) {
  auto theirs = from.metadata(name);
  if (!theirs.ok()) return std::move(theirs).error();
  if (*theirs == nullptr) return Error(ErrorKind::io, "there is no such key in the other keystore");
  if (const KeyRecord* ours = state.find(jceks::FoldedAlias((*theirs)->name).view()))
    return compare(*ours, **theirs);
  auto versions = from.versions(name);
  if (!versions.ok()) return std::move(versions).error();
  auto record = record_of(**theirs, *versions);
  if (!record.ok()) return std::move(record).error();
  Adoption done{store != nullptr ? Became::adopted : Became::would_adopt, remark_on(*record)};
  if (store != nullptr)
    if (auto made = store->adopt(std::move(*record)); !made.ok()) return std::move(made).error();
  return done;
}

std::int64_t adopted_at(const KeyRecord& record) {
  for (const TokenVersionPtr& each : record.versions)
    if (!each->outside()) return each->created_ms;
  return 0;
}

// Who serves this file: as configured, else whose it is.
ServingUser server_of(const StoreOptions& options, const std::string& file) {
  ServingUser user{options.owner_uid, options.owner_gid, options.user_name};
  struct stat st {};
  if (user.uid != static_cast<uid_t>(-1) || ::stat(file.c_str(), &st) != 0) return user;
  const passwd* account = ::getpwuid(st.st_uid);
  if (account == nullptr) return user;
  return {st.st_uid, account->pw_gid, account->pw_name};
}

Result<std::string> metadata_file(const StoreOptions& options) {
  auto path = path_of_uri(options.uri);
  if (!path.ok()) return std::move(path).error();
  if (path->empty())
    return Error(ErrorKind::configuration,
                 options.uri +
                     " has no file of metadata: versions that its database has stay there, and a "
                     "roll makes the next one in the HSM");
  return real_path(*path);
}

// Whether the version may be forgotten, and where it stands.
Result<void> check_forgettable(const State& state, const LastUses& uses, const std::string& version,
                               std::int64_t unused_days) {
  const auto refuse = [&](const std::string& why) {
    return Error(ErrorKind::invalid_argument, version + " " + why);
  };
  const auto name = base_name(version);
  const KeyRecord* record = name ? state.find(*name) : nullptr;
  const auto is_it = [&](const TokenVersionPtr& each) { return each->version_name == version; };
  const auto found = record == nullptr
                         ? std::vector<TokenVersionPtr>::const_iterator()
                         : std::find_if(record->versions.begin(), record->versions.end(), is_it);
  if (record == nullptr || found == record->versions.end())
    return refuse("is no key version of this store");
  if (!(*found)->outside()) return refuse("is in the HSM, so it is not forgotten");
  const auto use = uses.find(version);
  const std::int64_t since = use != uses.end() ? use->second : adopted_at(*record);
  if (now_ms() - since >= unused_days * kDayMs) return {};
  return refuse(std::string(use != uses.end() ? "was used" : "was adopted") + " within the last " +
                std::to_string(unused_days) + " days");
}

}  // namespace

Result<std::map<std::string, Adoption>> adopt_keys(const StoreOptions& options, KeyStore& from,
                                                   const std::vector<std::string>& names, bool act,
                                                   Logger& logger, const AdoptionStep& step) {
  auto path = metadata_file(options);
  if (!path.ok()) return std::move(path).error();
  std::vector<std::string> wanted = names;
  if (names.empty()) {
    auto all = from.names();
    if (!all.ok()) return std::move(all).error();
    wanted = std::move(*all);
  }
  std::unique_ptr<TokenStore> store;
  StatePtr state;
  if (act) {
    auto opened = open_token_store(options, logger, false);
    if (!opened.ok()) return std::move(opened).error();
    store = std::move(*opened);
    KMS_TRY(become(server_of(options, *path)));
    KMS_TRY(store->attach());
  } else {
    auto loaded = load_state(*path);
    if (!loaded.ok()) return std::move(loaded).error();
    state = std::move(*loaded);
  }
  std::map<std::string, Adoption> keys;
  for (const std::string& name : wanted) {
    if (store != nullptr) state = store->latest();
    auto done = adopt_key(*state, store.get(), from, name);
    // Without a token, or with a file that cannot be written, no other key would fare better.
    if (!done.ok() && store != nullptr && done.error().kind == ErrorKind::unavailable)
      return std::move(done).error();
    keys[name] = done.ok() ? std::move(*done) : Adoption{Became::refused, done.error().message};
    if (step) step(keys.size(), wanted.size());
  }
  if (store != nullptr) store->detach();
  return keys;
}

Result<std::vector<KeyUses>> key_uses(const StoreOptions& options) {
  if (path_of_uri(options.uri).ok() && path_of_uri(options.uri)->empty())
    return std::vector<KeyUses>();
  auto path = metadata_file(options);
  if (!path.ok()) return std::move(path).error();
  auto state = load_state(*path);
  if (!state.ok()) return std::move(state).error();
  auto uses = load_uses(uses_path(*path));
  if (!uses.ok()) return std::move(uses).error();
  std::vector<KeyUses> out;
  for (const auto& [name, record] : (*state)->keys) {
    KeyUses& key = out.emplace_back();
    key.name = name;
    key.current = version_name(name, record.metadata->versions - 1);
    if (record.adopted > 0) key.adopted_ms = adopted_at(record);
    for (const TokenVersionPtr& each : record.versions) {
      const auto use = uses->find(each->version_name);
      key.versions.push_back(
          {each->version_name, each->outside(), use != uses->end() ? use->second : 0});
    }
  }
  return out;
}

Result<void> forget_versions(const StoreOptions& options, const std::vector<std::string>& versions,
                             std::int64_t unused_days, Logger& logger) {
  auto path = metadata_file(options);
  if (!path.ok()) return std::move(path).error();
  auto first = load_state(*path);
  if (!first.ok()) return std::move(first).error();
  MetadataFile file(*path, {options.owner_uid, options.owner_gid}, options.lock_timeout_ms, logger,
                    *first);
  KMS_TRY(file.attach());
  WriteLock::Turn turn(file.lock());
  KMS_TRY(turn.take());
  auto base = file.writable_base();
  if (!base.ok()) return std::move(base).error();
  auto uses = load_uses(uses_path(*path));
  if (!uses.ok()) return std::move(uses).error();
  State next = **base;
  for (const std::string& version : versions) {
    KMS_TRY(check_forgettable(**base, *uses, version, unused_days));
    std::erase_if(next.keys.find(*base_name(version))->second.versions,
                  [&](const TokenVersionPtr& each) { return each->version_name == version; });
  }
  auto written = file.write(turn, **base, std::move(next), nullptr, {});
  return written.ok() ? Result<void>() : std::move(written).error();
}

}  // namespace kms::pkcs11
