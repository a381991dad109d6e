// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/verify.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <thread>

#include "core/file_io.h"
#include "keystore/jceks/alias.h"
#include "keystore/jceks/container.h"
#include "keystore/jceks/modified_utf8.h"
#include "keystore/jceks/pbe.h"
#include "keystore/jceks/sealed_object.h"
#include "keystore/jceks/store.h"

namespace kms::jceks {
namespace {

using enum Finding::Severity;

constexpr std::string_view kCodes[] = {"duplicate",
                                       "broken-entry",
                                       "foreign-entry",
                                       "unreachable-name",
                                       "no-current-version",
                                       "missing-version",
                                       "no-versions",
                                       "version-without-metadata",
                                       "version-beyond-count",
                                       "wrong-length",
                                       "version-without-number",
                                       "name-with-at",
                                       "few-iterations",
                                       "open-file",
                                       "leftover"};

// The PBE iterations of an entry; 0 where there are none to be seen.
std::int32_t iterations_of(const RawEntry& raw) {
  if (raw.tag != EntryTag::secret_key) return 0;
  const auto sealed = parse_sealed_object(raw.body);
  if (!sealed.ok() || !sealed->params) return 0;
  const auto params = parse_pbe_params(*sealed->params);
  return params.ok() ? params->iterations : 0;
}

class Inspector {
 public:
  explicit Inspector(const Secret& password) : password_(password) {}

  void load(std::vector<RawEntry> raws) {
    std::map<std::string, std::size_t> places;
    for (RawEntry& raw : raws) {
      const auto [found, fresh] = places.try_emplace(raw.alias, out_.entries.size());
      if (fresh) {
        out_.entries.push_back(std::make_shared<const Entry>(std::move(raw)));
        continue;
      }
      add(warning, "duplicate", raw.alias,
          "stands more than once in the file; the last one counts");
      out_.entries[found->second] = std::make_shared<const Entry>(std::move(raw));
    }
  }

  void open_all(const InspectionStep& step) {
    const std::size_t total = out_.entries.size();
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i; (i = next++) < total;) {
        bool first = false;
        out_.entries[i]->open(password_, first);
        if (step) step(total);
      }
    };
    // The key derivation is all it costs; more threads than this serve nobody's server.
    const std::size_t threads = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 8);
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < std::min(threads, total); ++i) others.emplace_back(work);
    work();
    for (std::thread& other : others) other.join();
  }

  void look() {
    for (const EntryPtr& entry : out_.entries) sort_in(*entry);
    for (const auto& [alias, stored] : keys_) check_key(alias, *stored);
    for (const auto& [alias, size] : versions_) check_version(alias, size);
    check_iterations();
  }

  void check_file(const std::string& path, const FileId& id);

  Inspection take() {
    std::stable_sort(out_.findings.begin(), out_.findings.end(),
                     [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
    return std::move(out_);
  }

 private:
  void add(Finding::Severity severity, std::string_view code, std::string_view alias,
           std::string text) {
    out_.findings.push_back({severity, code, to_utf8(alias), std::move(text)});
  }

  void sort_in(const Entry& entry) {
    const std::string& alias = entry.raw().alias;
    const Opened& opened = *entry.peek();
    if (FoldedAlias(alias).view() != alias)
      add(warning, "unreachable-name", alias,
          "has upper-case letters, so that no look-up finds it");
    switch (opened.kind) {
      case Opened::Kind::metadata:
        keys_[alias] = &opened.stored;
        ++out_.keys;
        break;
      case Opened::Kind::version:
        versions_[alias] = opened.version->material.size();
        ++out_.versions;
        break;
      case Opened::Kind::foreign:
        add(warning, "foreign-entry", alias,
            "is a private key or a certificate, which no KMS uses");
        break;
      case Opened::Kind::broken:
        broken_.insert(alias);
        add(error, "broken-entry", alias, "cannot be opened: " + opened.why);
        break;
    }
  }

  bool there(const std::string& alias) const {
    return versions_.count(alias) != 0 || broken_.count(alias) != 0;
  }

  void check_key(const std::string& alias, const StoredMetadata& stored) {
    if (alias.find('@') != std::string::npos)
      add(note, "name-with-at", alias, "has an '@' in its name, so that no list of keys shows it");
    if (stored.versions <= 0) {
      add(error, "no-versions", alias,
          "says that it has " + std::to_string(stored.versions) +
              " versions; rolling it makes one");
      return;
    }
    std::vector<std::int32_t> missing;
    // A damaged count may be large; the versions that are there are few.
    constexpr std::int32_t kMostListed = 1000;
    for (std::int32_t i = std::max(0, stored.versions - kMostListed); i < stored.versions - 1; ++i)
      if (!there(version_name(alias, i))) missing.push_back(i);
    if (!there(version_name(alias, stored.versions - 1)))
      add(error, "no-current-version", alias,
          "its current version " + to_utf8(version_name(alias, stored.versions - 1)) +
              " is missing, so nothing can be encrypted with it; restore it from a backup, or roll "
              "the key");
    if (!missing.empty())
      add(error, "missing-version", alias,
          "has no entry for " + std::to_string(missing.size()) +
              " of its older versions, the first "
              "is " +
              to_utf8(version_name(alias, missing.front())) +
              "; what they encrypted cannot be read");
  }

  void check_version(const std::string& alias, std::size_t size) {
    const auto parts = numbered_alias(alias);
    if (!parts) {
      add(warning, "version-without-number", alias,
          "is key material under a name that is no version of a key, NAME@N");
      return;
    }
    const auto key = keys_.find(parts->base);
    if (key == keys_.end()) {
      if (broken_.count(parts->base) == 0)
        add(error, "version-without-metadata", alias,
            "belongs to no key: there is no metadata of " + to_utf8(parts->base));
      return;
    }
    const StoredMetadata& stored = *key->second;
    if (parts->number >= stored.versions)
      add(warning, "version-beyond-count", alias,
          "the key's metadata counts " + std::to_string(stored.versions) +
              " versions only; the key cannot be rolled past it");
    if (static_cast<std::int64_t>(size) * 8 != stored.bit_length)
      add(warning, "wrong-length", alias,
          "has " + std::to_string(size * 8) + " bits, the key's metadata says " +
              std::to_string(stored.bit_length));
  }

  void check_iterations() {
    std::size_t few = 0;
    std::int32_t least = std::numeric_limits<std::int32_t>::max();
    for (const EntryPtr& entry : out_.entries) {
      const std::int32_t n = iterations_of(entry->raw());
      if (n <= 0 || n >= kMinIterations) continue;
      ++few;
      least = std::min(least, n);
    }
    if (few > 0)
      add(warning, "few-iterations", {},
          std::to_string(few) + " entries are sealed with fewer than " +
              std::to_string(kMinIterations) + " iterations, " + std::to_string(least) +
              " at the least: the password is cheap to guess. Java writes " +
              std::to_string(kDefaultIterations));
  }

  const Secret& password_;
  Inspection out_;
  std::map<std::string, const StoredMetadata*> keys_;
  std::map<std::string, std::size_t> versions_;  // with the bytes of their material
  std::set<std::string> broken_;
};

void Inspector::check_file(const std::string& path, const FileId& id) {
  out_.file = id;
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & (S_IROTH | S_IWOTH)) != 0)
    add(warning, "open-file", {}, "everybody on this host can read or write the file");
  const auto leftover = [&](const std::string& name, const char* what) {
    struct stat there {};
    if (stat(name.c_str(), &there) == 0) add(note, "leftover", {}, name + what);
  };
  leftover(path + "_NEW",
           " is of a write of the Java KMS that was interrupted; the next start "
           "decides what to do with it");
  leftover(path + "_OLD",
           " is of a write of the Java KMS that was interrupted; the next start "
           "decides what to do with it");
  leftover(hidden_beside(real_path(path), ".tmp"),
           " is of a write that was interrupted; the next writer removes it");
}

}  // namespace

std::optional<NumberedAlias> numbered_alias(std::string_view alias) {
  const std::size_t at = alias.rfind('@');
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view digits = alias.substr(at + 1);
  std::int32_t number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0 ||
      std::to_string(number) != digits)
    return std::nullopt;
  return NumberedAlias{std::string(alias.substr(0, at)), number};
}

Result<Inspection> inspect(const std::string& path, const Secret& password,
                           const InspectionStep& step) {
  KMS_TRY(pbe_available());
  auto file = load_file(path);
  if (!file.ok()) return std::move(file).error();
  if (!file->id.exists) return Error(ErrorKind::io, path + ": no such file");
  auto container = parse_container(file->data, password.view());
  if (!container.ok())
    return Error(container.error().kind, path + ": " + container.error().message);
  Inspector inspector(password);
  inspector.load(std::move(container->entries));
  inspector.open_all(step);
  inspector.look();
  inspector.check_file(path, file->id);
  return inspector.take();
}

Result<Salvage> salvage(const std::string& path, const Secret& password,
                        const InspectionStep& step) {
  KMS_TRY(pbe_available());
  auto file = load_file(path);
  if (!file.ok()) return std::move(file).error();
  if (!file->id.exists) return Error(ErrorKind::io, path + ": no such file");
  Wreck wreck = search_entries(file->data);
  Inspector inspector(password);
  inspector.load(std::move(wreck.entries));
  inspector.open_all(step);
  inspector.look();
  inspector.check_file(path, file->id);
  Salvage out{inspector.take(), std::move(wreck.lost)};
  if (out.found.keys + out.found.versions == 0)
    return Error(ErrorKind::corrupt, path + ": none of " +
                                         std::to_string(out.found.entries.size()) +
                                         " entries can be opened; is it the right password?");
  return out;
}

std::vector<std::string_view> finding_codes() {
  return {std::begin(kCodes), std::end(kCodes)};
}

}  // namespace kms::jceks
