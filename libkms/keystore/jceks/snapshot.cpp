// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/snapshot.h"

namespace kms::jceks {

Result<SnapshotPtr> parse_snapshot(const LoadedFile& file, const Secret& password,
                                   const Snapshot* old) {
  auto parsed = parse_container(file.data, password.view());
  if (!parsed.ok()) return std::move(parsed).error();
  auto out = std::make_shared<Snapshot>();
  out->file = file.id;
  out->entries.reserve(parsed->entries.size());
  for (RawEntry& raw : parsed->entries) {
    EntryPtr entry;
    if (old != nullptr) {
      const auto known = old->entries.find(raw.alias);
      if (known != old->entries.end() && known->second->same_as(raw)) entry = known->second;
    }
    std::string alias = raw.alias;
    if (entry == nullptr) entry = std::make_shared<const Entry>(std::move(raw));
    out->entries.insert_or_assign(std::move(alias), std::move(entry));
  }
  return SnapshotPtr(std::move(out));
}

Result<Bytes> encode_snapshot(const Snapshot::Map& entries, const Secret& password) {
  constexpr std::size_t kEntryHead = 4 + 2 + 8, kFrame = 12 + 20;
  std::size_t size = kFrame;
  for (const auto& [alias, entry] : entries)
    size += kEntryHead + 2 * alias.size() + entry->raw().body.size();
  ContainerWriter writer(static_cast<std::uint32_t>(entries.size()), size);
  for (const auto& [alias, entry] : entries)
    writer.add(entry->raw().tag, alias, entry->raw().date_ms, entry->raw().body);
  return writer.finish(password.view());
}

}  // namespace kms::jceks
