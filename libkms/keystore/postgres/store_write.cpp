// SPDX-License-Identifier: Apache-2.0
// create, roll, and keys taken over from elsewhere.
#include <limits>

#include "core/clock.h"
#include "crypto/base64.h"
#include "crypto/random.h"
#include "keystore/checks.h"
#include "keystore/jceks/alias.h"
#include "keystore/jceks/keygen.h"
#include "keystore/key_reference.h"
#include "keystore/postgres/statements.h"
#include "keystore/postgres/write.h"

namespace kms::postgres {
namespace {

// A text column holds no NUL, and neither does a name in the JSON of the details.
Result<void> check_no_nul(const std::string& cipher,
                          const std::map<std::string, std::string>& attributes) {
  bool nul = cipher.find('\0') != std::string::npos;
  for (const auto& [name, value] : attributes) nul = nul || name.find('\0') != std::string::npos;
  if (!nul) return {};
  return Error(ErrorKind::invalid_argument, "The key's options have a NUL character");
}

Result<void> insert_version(Connection& connection, const std::string& name,
                            const VersionRow& row) {
  return insert_rows(connection, KMS_VERSION_INSERT, kVersionInsertColumns, 1,
                     [&](std::size_t, Params& to) { add_version_row(to, name, row); });
}

Error no_vault() {
  return Error(ErrorKind::unavailable, "The sealing key of the store was not opened yet");
}

}  // namespace

Result<KeyRow> TrusteeStore::new_row(std::string name, const KeyOptions& options,
                                     std::int64_t created_ms, std::int32_t versions) const {
  Bytes random(16);
  KMS_TRY(fill_public(random));
  KeyRow row;
  row.name = std::move(name);
  row.incarnation = base64url_encode(random);
  row.cipher = options.cipher;
  row.bit_length = options.bit_length;
  row.details = details_of(options.description, options.attributes);
  row.created_ms = created_ms;
  row.versions = versions;
  row.state = key_state_name(options.state);
  row.revision = 1;
  return row;
}

Result<void> TrusteeStore::insert(const KeyRow& unsealed, const Contents& contents,
                                  const VersionPtr& fresh, const Approval& approval) {
  Write write(*this, unsealed.name, approval);
  return write.run([&](Connection& connection) -> Result<VersionPtr> {
    const auto safe = vault();
    if (safe == nullptr) return no_vault();
    KeyRow row = unsealed;
    KMS_TRY(safe->seal(row));
    std::vector<VersionRow> versions;
    for (const auto& [number, content] : contents) {
      auto sealed = safe->seal_version(row, number, row.created_ms, *content);
      if (!sealed.ok()) return std::move(sealed).error();
      versions.push_back(std::move(*sealed));
    }
    write.sealed_by(row.seal_id);
    auto done = insert_rows(connection, KMS_KEY_INSERT, kKeyInsertColumns, 1,
                            [&](std::size_t, Params& to) { add_key_row(to, row); });
    if (!done.ok() && connection.fault() == Fault::exists)
      return Error(ErrorKind::io, "Key " + row.name + " already exists in " + uri());
    KMS_TRY(done);
    KMS_TRY(insert_rows(
        connection, KMS_VERSION_INSERT, kVersionInsertColumns, versions.size(),
        [&](std::size_t i, Params& to) { add_version_row(to, row.name, versions[i]); }));
    for (const auto& [number, content] : contents)
      KMS_TRY(take_note(connection, row, number, *content));
    return fresh;
  });
}

Result<VersionPtr> TrusteeStore::create(std::string_view name, const KeyOptions& options,
                                        const Secret* material, const Approval& approval) {
  Secret generated;
  if (material == nullptr) {
    auto made = jceks::generate_material(options.cipher, options.bit_length);
    if (!made.ok()) return std::move(made).error();
    generated = std::move(*made);
    material = &generated;
  }
  KMS_TRY(jceks::check_new_name(name));
  KMS_TRY(check_texts(options));
  KMS_TRY(check_no_nul(options.cipher, options.attributes));
  auto known = find(name);
  if (!known.ok()) return std::move(known).error();
  if ((*known)->deleted)
    return Error(ErrorKind::io, "Key " + std::string(name) + " already exists in " + uri() +
                                    ": it was deleted, and is kept until it is purged");
  if ((*known)->metadata != nullptr || (*known)->broken.has_value())
    return Error(ErrorKind::io, "Key " + std::string(name) + " already exists in " + uri());
  KMS_TRY(check_content(options.bit_length, *material));
  auto row = new_row(std::string(name), options, now_ms(), 1);
  if (!row.ok()) return std::move(row).error();
  auto fresh = version_for(*row, 0, material->clone());
  if (!fresh.ok()) return fresh;
  KMS_TRY(insert(*row, {{0, material}}, *fresh, approval));
  return fresh;
}

Result<void> TrusteeStore::import_key(const KeyMetadata& metadata,
                                      std::span<const VersionPtr> versions) {
  KMS_TRY(check_import(metadata, versions));
  KMS_TRY(check_no_nul(metadata.cipher, metadata.attributes));
  for (const VersionPtr& version : versions)
    if (has_reference_tag(version->material.view()))
      return Error(ErrorKind::invalid_argument,
                   version->version_name + " is no key: its material is a reference to one");
  auto known = find(metadata.name);  // opens the vault as well
  if (!known.ok()) return std::move(known).error();
  KeyOptions options{metadata.cipher, metadata.bit_length, metadata.description,
                     metadata.attributes, metadata.state};
  auto row = new_row(metadata.name, options, metadata.created_ms, metadata.versions);
  if (!row.ok()) return std::move(row).error();
  Contents contents;
  for (const VersionPtr& version : versions) {
    const std::string number = version->version_name.substr(metadata.name.size() + 1);
    contents.emplace_back(std::stoi(number), &version->material);
  }
  return insert(*row, contents, nullptr, {});
}

Result<VersionPtr> TrusteeStore::roll(std::string_view asked, const Secret* material,
                                      const Approval& approval) {
  const std::string name = folded(asked);
  KMS_TRY(check_all_here(name));
  Secret generated;
  VersionPtr made;
  Write write(*this, name, approval);
  KMS_TRY(write.run_on_row([&](Connection& connection, const Rows& rows) -> Result<VersionPtr> {
    if (!is_there(rows))
      return Error(ErrorKind::io, (material != nullptr ? "Key " : "Can't find Metadata for key ") +
                                      std::string(asked) +
                                      (material != nullptr ? " not found" : ""));
    auto row = checked_row(rows);
    if (!row.ok()) return std::move(row).error();
    auto state = state_of(*row);
    if (!state.ok()) return std::move(state).error();
    KMS_TRY(check_key_use(name, *state, KeyUse::roll));
    if (row->versions < 0 || row->versions == std::numeric_limits<std::int32_t>::max())
      return Error(ErrorKind::io, "The key " + name + " has no version number left");
    if (material == nullptr && generated.empty()) {
      auto fresh = jceks::generate_material(row->cipher, row->bit_length);
      if (!fresh.ok()) return std::move(fresh).error();
      generated = std::move(*fresh);
    }
    const Secret& used = material != nullptr ? *material : generated;
    KMS_TRY(check_content(row->bit_length, used));
    const std::int32_t number = row->versions++;
    auto version = vault()->seal_version(*row, number, now_ms(), used);
    if (!version.ok()) return std::move(version).error();
    write.sealed_by(version->seal_id);
    KMS_TRY(update_row(connection, *row));
    KMS_TRY(insert_version(connection, name, *version));
    KMS_TRY(take_note(connection, *row, number, used));
    auto fresh = version_for(*row, number, used.clone());
    if (fresh.ok()) made = *fresh;
    return fresh;
  }));
  return made;
}

}  // namespace kms::postgres
