// SPDX-License-Identifier: Apache-2.0
// The list of all names. With very many keys it is not read as a whole for each change of one: what
// changed since the last time is in the log.
#include <algorithm>
#include <map>

#include "keystore/postgres/change_log.h"
#include "keystore/postgres/store.h"

namespace kms::postgres {
namespace {

constexpr std::size_t kMostChanged = 1000;  // names; more are a reason to read all of them

// Names by whether there is such a key now.
using Changed = std::map<std::string, bool>;

std::vector<std::string> merged(const std::vector<std::string>& names, const Changed& changed) {
  std::vector<std::string> out;
  out.reserve(names.size() + changed.size());
  auto at = names.begin();
  for (const auto& [name, there] : changed) {
    const auto to = std::lower_bound(at, names.end(), name);
    out.insert(out.end(), at, to);
    if (there) out.push_back(name);
    at = to != names.end() && *to == name ? to + 1 : to;
  }
  out.insert(out.end(), at, names.end());
  return out;
}

// Says of each of these names whether there is such a key.
Result<void> look_up(Connection& connection, Changed& changed) {
  if (changed.empty()) return {};
  std::string sql = "SELECT name FROM kms_key WHERE deleted_ms IS NULL AND name IN (";
  Params params;
  int place = 1;
  for (const auto& [name, there] : changed) {
    sql += (place == 1 ? "$" : ", $") + std::to_string(place);
    place += 1;
    params.text(name);
  }
  auto rows = connection.run((sql + ")").c_str(), params);
  if (!rows.ok()) return std::move(rows).error();
  for (int i = 0; i < rows->size(); ++i) changed[rows->text(i, 0)] = true;
  return {};
}

}  // namespace

// The counters first: what is changed meanwhile is looked at twice then, and not missed.
Result<KeyCache::Names> TrusteeStore::read_names(Connection& connection) {
  KeyCache::Names read;
  auto counters = read_counters(connection);
  if (!counters.ok()) return std::move(counters).error();
  read.counters = std::move(*counters);
  auto rows = connection.run("SELECT name FROM kms_key WHERE deleted_ms IS NULL");
  if (!rows.ok()) return std::move(rows).error();
  auto names = std::make_shared<std::vector<std::string>>();
  names->reserve(static_cast<std::size_t>(rows->size()));
  for (int i = 0; i < rows->size(); ++i) names->push_back(rows->text(i, 0));
  std::sort(names->begin(), names->end());
  read.list = std::move(names);
  return read;
}

// nullopt: the log does not lead from there to now, or it is too much.
Result<std::optional<KeyCache::Names>> TrusteeStore::names_since(Connection& connection,
                                                                 const KeyCache::Names& known) {
  auto changes = changes_since(connection, known.counters);
  if (!changes.ok()) return std::move(changes).error();
  Changed changed;
  for (std::string& name : changes->names) changed.emplace(std::move(name), false);
  if (!changes->complete || changed.size() > kMostChanged) return std::optional<KeyCache::Names>();
  KMS_TRY(look_up(connection, changed));
  std::erase_if(changed, [&](const auto& one) {
    return std::binary_search(known.list->begin(), known.list->end(), one.first) == one.second;
  });
  KeyCache::Names now = known;
  now.counters = std::move(changes->counters);
  if (!changed.empty())
    now.list = std::make_shared<const std::vector<std::string>>(merged(*known.list, changed));
  return std::optional<KeyCache::Names>(std::move(now));
}

Result<std::vector<std::string>> TrusteeStore::names() {
  KMS_TRY(sync());
  const std::uint64_t epoch = cache_.epoch();
  KeyCache::Names known = cache_.names();
  const std::uint64_t era = known.era;
  if (known.list != nullptr && known.epoch == epoch) return *known.list;
  KMS_TRY(pool_.read(deadline(), [&](Connection& connection) -> Result<void> {
    std::optional<KeyCache::Names> now;
    if (known.list != nullptr) {
      auto since = names_since(connection, known);
      if (!since.ok()) return std::move(since).error();
      now = std::move(*since);
    }
    if (!now.has_value()) {
      auto read = read_names(connection);
      if (!read.ok()) return std::move(read).error();
      now = std::move(*read);
    }
    known = std::move(*now);
    return {};
  }));
  known.epoch = epoch;
  known.era = era;
  cache_.put_names(known);
  return *known.list;
}

}  // namespace kms::postgres
