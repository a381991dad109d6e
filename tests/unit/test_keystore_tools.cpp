// SPDX-License-Identifier: Apache-2.0
// Keystore files looked through and mended, keys taken over from one keystore into another.
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "jceks_util.h"
#include "keystore/jceks/repair.h"
#include "keystore/jceks/verify.h"
#include "keystore/migration_report.h"

using namespace kms;
using namespace kms::jceks;
using unit::assert_contains;
using unit::assert_error;
using unit::assert_text;
using unit::must;
using unit::TempDir;

namespace {

const Secret kPassword(std::string_view("none"));
constexpr std::string_view kCipher = "AES/CTR/NoPadding";

StoredMetadata metadata_of(std::int32_t versions, std::int32_t bits = 128) {
  StoredMetadata metadata;
  metadata.cipher = kCipher;
  metadata.bit_length = bits;
  metadata.created_ms = 1700000000000;
  metadata.description = "d";
  metadata.attributes = {{"key.acl.name", "x"}};
  metadata.versions = versions;
  return metadata;
}

// A keystore that is put together entry by entry, sealed at almost no cost.
class Builder {
 public:
  explicit Builder(int iterations = kMinIterations) : iterations_(iterations) {}
  Builder& key(const std::string& name, std::int32_t versions, std::int32_t bits = 128) {
    return raw(name, must(seal_key(encode_metadata(metadata_of(versions, bits)).view(),
                                   kPassword.view(), iterations_)));
  }
  Builder& version(const std::string& name, std::uint8_t fill = 7, std::size_t size = 16) {
    const Bytes material(size, fill);
    return raw(name, must(seal_key(encode_secret_key(kCipher, material).view(), kPassword.view(),
                                   iterations_)));
  }
  // Sealed with another password.
  Builder& broken(const std::string& name) {
    const Bytes material(16, 1);
    return raw(name, must(seal_key(encode_secret_key(kCipher, material).view(), as_bytes("another"),
                                   iterations_)));
  }
  Builder& raw(const std::string& alias, Bytes body) {
    entries_.push_back({EntryTag::secret_key, alias, 1700000000000, std::move(body)});
    return *this;
  }
  std::string write(const TempDir& dir, const std::string& name = "kms.keystore") const {
    ContainerWriter out(static_cast<std::uint32_t>(entries_.size()), 4096);
    for (const RawEntry& entry : entries_)
      out.add(entry.tag, entry.alias, entry.date_ms, entry.body);
    const Bytes bytes = must(out.finish(kPassword.view()));
    const std::string path = dir.write(name, as_text(bytes));
    chmod(path.c_str(), 0600);
    return path;
  }

 private:
  const int iterations_;
  std::vector<RawEntry> entries_;
};

std::string findings_of(const std::string& path) {
  static std::set<std::string_view> known;
  if (known.empty())
    for (const std::string_view code : finding_codes()) known.insert(code);
  const Inspection found = must(inspect(path, kPassword));
  std::string text;
  for (const Finding& finding : found.findings) {
    assert_true(known.count(finding.code) == 1);
    text += std::string(finding.code) + ":" + finding.entry + "\n";
  }
  return text;
}

void a_good_keystore_has_no_findings(void**) {
  TempDir dir;
  const auto path = Builder()
                        .key("a", 2)
                        .version("a@0")
                        .version("a@1")
                        .key("b", 1, 256)
                        .version("b@0", 9, 32)
                        .write(dir);
  assert_text(findings_of(path), "");
  std::atomic<std::size_t> steps{0};
  const Inspection found = must(inspect(path, kPassword, [&](std::size_t total) {
    assert_int_equal(total, 5);
    ++steps;
  }));
  assert_int_equal(steps, 5);
  assert_int_equal(found.keys, 2);
  assert_int_equal(found.versions, 3);
}

void what_is_wrong_with_entries(void**) {
  TempDir dir;
  const auto one = [&](Builder& builder) { return findings_of(builder.write(dir)); };
  assert_text(one(Builder().key("a", 2).version("a@0")), "no-current-version:a\n");
  assert_text(one(Builder().key("a", 3).version("a@2")), "missing-version:a\n");
  assert_text(one(Builder().key("a", 0)), "no-versions:a\n");
  assert_text(one(Builder().version("a@0")), "version-without-metadata:a@0\n");
  assert_text(one(Builder().key("a", 1).version("a@0").version("a@1")),
              "version-beyond-count:a@1\n");
  assert_text(one(Builder().key("a", 1, 256).version("a@0")), "wrong-length:a@0\n");
  assert_text(one(Builder().version("a")), "version-without-number:a\n");
  assert_text(one(Builder().version("a@01")), "version-without-number:a@01\n");
  assert_text(one(Builder().key("a", 1).broken("a@0")), "broken-entry:a@0\n");
  assert_text(one(Builder().broken("a").version("a@0")), "broken-entry:a\n");
  assert_text(one(Builder().key("x@y", 1).version("x@y@0")), "name-with-at:x@y\n");
  assert_text(one(Builder().key("a", 1).version("a@0").version("a@0")), "duplicate:a@0\n");
  assert_contains(one(Builder().key("A", 1).version("A@0")), "unreachable-name:A\n");
  assert_text(one(Builder(100).key("a", 1).version("a@0")), "few-iterations:\n");
  // A count that no file can hold costs nothing.
  assert_contains(one(Builder().key("a", 2000000000).version("a@0")), "no-current-version:a\n");
}

void what_is_wrong_with_the_file(void**) {
  TempDir dir;
  const auto path = Builder().key("a", 1).version("a@0").write(dir);
  assert_error(inspect(path, Secret(std::string_view("other"))), ErrorKind::wrong_password, path);
  assert_error(inspect(dir.path("none"), kPassword), ErrorKind::io, "no such file");
  assert_error(inspect(dir.write("torn", unit::read_file(path).substr(0, 100)), kPassword),
               ErrorKind::corrupt, "torn: ");
  chmod(path.c_str(), 0644);
  dir.write("kms.keystore_NEW", "");
  dir.write(".kms.keystore.tmp", "");
  assert_text(findings_of(path), "open-file:\nleftover:\nleftover:\n");
}

// One key of Hadoop among what keytool made, and the other files of the JDK.
void keystores_of_the_jdk(void**) {
  const Inspection mixed =
      must(inspect(unit::data_path("jceks/mixed.jceks"), Secret(std::string_view("mixedpass"))));
  const auto count = [&](std::string_view code) {
    return std::count_if(mixed.findings.begin(), mixed.findings.end(),
                         [&](const Finding& finding) { return finding.code == code; });
  };
  assert_int_equal(mixed.keys, 1);
  assert_int_equal(count("foreign-entry"), 3);
  assert_int_equal(count("version-without-number"), 4);
  assert_int_equal(count("version-without-metadata"), 1);
  const auto duplicate =
      must(inspect(unit::data_path("jceks/odd-duplicate-alias.jceks"), kPassword));
  assert_text(duplicate.findings.at(0).code, "duplicate");
  assert_int_equal(duplicate.entries.size(), 2);
}

RepairPlan plan_of(const std::string& path, bool drop_broken = false) {
  RepairOptions options;
  options.drop_broken = drop_broken;
  options.iterations = kMinIterations;
  return must(plan_repair(must(inspect(path, kPassword)), kPassword, options));
}

void nothing_to_mend(void**) {
  TempDir dir;
  const auto path = Builder().key("a", 1).version("a@0").broken("b").write(dir);
  assert_int_equal(plan_of(path).steps.size(), 0);
  // What is missing cannot be made.
  assert_int_equal(plan_of(Builder().key("a", 2).version("a@0").write(dir)).steps.size(), 0);
}

void what_can_be_mended(void**) {
  TempDir dir;
  const auto path = Builder()
                        .key("low", 1)
                        .version("low@0", 1)
                        .version("low@1", 2)
                        .version("low@3", 4)
                        .version("lost@0", 5, 32)
                        .version("lost@1", 6, 32)
                        .key("twice", 1)
                        .version("twice@0", 7)
                        .version("twice@0", 8)
                        .broken("bad@0")
                        .write(dir);
  const std::string before = unit::read_file(path);
  RepairOptions options;
  options.drop_broken = true;
  options.iterations = kMinIterations;
  const Inspection found = must(inspect(path, kPassword));
  const RepairPlan plan = must(plan_repair(found, kPassword, options));
  assert_int_equal(plan.steps.size(), 4);
  assert_text(unit::read_file(path), before);

  // A server that runs meanwhile sees it in its next call.
  unit::Log log;
  const auto server = unit::open_or_fail(path, log);
  assert_null(must(server->metadata("lost")).get());
  const std::string backup = must(carry_out_repair(path, found, plan, kPassword, options));
  assert_text(unit::read_file(backup), before);
  struct stat info {};
  assert_int_equal(stat(backup.c_str(), &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);

  const MetadataPtr lost = must(server->metadata("lost"));
  assert_non_null(lost.get());
  assert_text(lost->cipher, kCipher);
  assert_int_equal(lost->bit_length, 256);
  assert_int_equal(lost->versions, 2);
  assert_int_equal(lost->created_ms, 1700000000000);
  assert_int_equal(must(server->current_version("lost"))->material.view()[0], 6);
  // Up to the gap.
  assert_text(must(server->current_version("low"))->version_name, "low@1");
  assert_int_equal(must(server->current_version("twice"))->material.view()[0], 8);
  assert_text(findings_of(path), "version-beyond-count:low@3\n");
  assert_int_equal(plan_of(path).steps.size(), 0);
}

void a_file_that_changes_meanwhile_is_left_alone(void**) {
  TempDir dir;
  const auto path = Builder().version("a@0").write(dir);
  const Inspection found = must(inspect(path, kPassword));
  RepairOptions options;
  options.iterations = kMinIterations;
  const RepairPlan plan = must(plan_repair(found, kPassword, options));
  Builder().version("b@0").write(dir, "other");
  std::filesystem::rename(dir.path("other"), path);
  const std::string now = unit::read_file(path);
  assert_error(carry_out_repair(path, found, plan, kPassword, options), ErrorKind::unavailable,
               "was changed since");
  assert_text(unit::read_file(path), now);
}

// --- damaged files ---

// The keys of a new file that was made of what is left of a damaged one: "a:2 b:1", with versions.
std::string salvaged(const TempDir& dir, std::string_view damaged, std::size_t gaps) {
  const auto path = dir.write("damaged", damaged);
  const Salvage wreck = must(salvage(path, kPassword));
  assert_int_equal(wreck.lost.size(), gaps);
  RepairOptions options;
  options.drop_broken = true;
  options.iterations = kMinIterations;
  const RepairPlan plan = must(plan_repair(wreck.found, kPassword, options));
  const auto fresh = dir.path("fresh");
  std::filesystem::remove(fresh);
  assert_true(write_salvaged(path, fresh, plan, kPassword).ok());
  // What is there is never written over.
  assert_error(write_salvaged(path, fresh, plan, kPassword), ErrorKind::io, "fresh");
  assert_text(unit::read_file(path), damaged);
  unit::Log log;
  const auto store = unit::open_or_fail(fresh, log);
  std::string text;
  auto names = must(store->names());
  std::sort(names.begin(), names.end());
  for (const std::string& name : names)
    text += name + ":" + std::to_string(must(store->versions(name)).size()) + " ";
  return text;
}

void damaged_files_are_salvaged(void**) {
  TempDir dir;
  const auto path =
      Builder().key("a", 2).version("a@0", 1).version("a@1", 2).key("b", 1).version("b@0", 3).write(
          dir);
  const std::string whole = unit::read_file(path);
  assert_text(salvaged(dir, whole, 0), "a:2 b:1 ");
  // The digest, and the count of entries.
  std::string damaged = whole;
  damaged.back() ^= 1;
  assert_text(salvaged(dir, damaged, 0), "a:2 b:1 ");
  damaged = whole;
  damaged[11] = 2;
  assert_text(salvaged(dir, damaged, 0), "a:2 b:1 ");
  // Cut off in the digest, and in the last entry.
  assert_text(salvaged(dir, whole.substr(0, whole.size() - 5), 1), "a:2 b:1 ");
  const std::size_t last = whole.find("b@0") - 6;
  assert_text(salvaged(dir, whole.substr(0, last + 40), 1), "a:2 b:0 ");
  // Metadata that cannot be read is made anew from the versions.
  damaged = whole;
  damaged[12] = 9;
  assert_text(salvaged(dir, damaged, 1), "a:2 b:1 ");
  // In the middle of an entry: of its structure, and of what is sealed.
  damaged = whole;
  damaged.replace(whole.find("a@1") + 11, 40, 40, '\0');
  assert_text(salvaged(dir, damaged, 1), "a:1 b:1 ");
  // Bytes that were put in.
  damaged = whole;
  damaged.insert(last, "\0\0\0\3 and more that is no entry", 30);
  assert_text(salvaged(dir, damaged, 1), "a:2 b:1 ");
}

void nothing_to_salvage(void**) {
  TempDir dir;
  assert_error(salvage(dir.path("none"), kPassword), ErrorKind::io, "no such file");
  for (const std::string& text :
       {std::string(), std::string("x"), std::string(5000, '\0'), std::string(300, '\3')})
    assert_error(salvage(dir.write("no", text), kPassword), ErrorKind::corrupt, "no: none of 0");
  const auto path = Builder().key("a", 1).version("a@0").write(dir);
  assert_error(salvage(path, Secret(std::string_view("other"))), ErrorKind::corrupt,
               "none of 2 entries can be opened; is it the right password?");
  // Wherever it is cut, and whatever byte is another one.
  const std::string whole = unit::read_file(path);
  for (std::size_t i = 0; i < whole.size(); i += 7) {
    static_cast<void>(salvage(dir.write("cut", whole.substr(0, i)), kPassword));
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 0x55);
    static_cast<void>(salvage(dir.write("changed", changed), kPassword));
  }
}

// --- taking keys over ---

using Migrated = std::map<std::string, KeyMigration>;

// One pass; with no report nothing of an earlier one is known.
Migrated migrated(KeyStore& from, KeyStore& to, MigrationReport* report = nullptr,
                  bool act = true) {
  MigrationReport none("a", "b");
  Migrated keys;
  const auto done = migrate_keys(from, to, report != nullptr ? *report : none, act, keys);
  if (!done.ok()) _fail(done.error().message.c_str(), 0);
  return keys;
}

std::string states(const Migrated& keys) {
  std::string out;
  for (const auto& [name, key] : keys) {
    out += (out.empty() ? "" : ", ") + name + " " + std::string(state_name(key.state));
    if (!key.text.empty()) out += ": " + key.text;
  }
  return out;
}

void keys_are_taken_over_as_they_are(void**) {
  TempDir dir;
  unit::Log log;
  const auto from_path =
      Builder().key("a", 3).version("a@0", 1).version("a@2", 3).key("b", 1).version("b@0", 4).write(
          dir, "from");
  const auto from = unit::open_or_fail(from_path, log);
  const auto to = unit::open_or_fail(dir.path("to"), log);
  assert_text(states(migrated(*from, *to)), "a copied, b copied");
  const auto anew = unit::open_or_fail(dir.path("to"), log);
  const MetadataPtr a = must(anew->metadata("a"));
  assert_int_equal(a->created_ms, 1700000000000);
  assert_int_equal(a->versions, 3);
  assert_text(a->attributes.at("key.acl.name"), "x");
  assert_null(must(anew->version("a@1")).get());
  assert_int_equal(must(anew->version("a@2"))->material.view()[0], 3);
  assert_text(findings_of(dir.path("to")), "missing-version:a\n");
  // Again: nothing to do, and both sides are described alike.
  const Migrated again = migrated(*from, *anew);
  assert_text(states(again), "a already_there, b already_there");
  assert_text(hadoop::dump_json(again.at("a").from.get()),
              hadoop::dump_json(again.at("a").to.get()));
}

void a_dry_run_changes_nothing(void**) {
  TempDir dir;
  unit::Log log;
  const auto from =
      unit::open_or_fail(Builder().key("a", 1).version("a@0").write(dir, "from"), log);
  const auto to = must(unit::try_open(dir.path("to"), log, "none", true));
  assert_text(states(migrated(*from, *to, nullptr, false)), "a would_copy");
  assert_false(unit::exists(dir.path("to")));
}

void what_is_there_is_left_alone(void**) {
  TempDir dir;
  unit::Log log;
  const auto from = unit::open_or_fail(
      Builder().key("a", 1).version("a@0", 1).key("b", 2).version("b@0").version("b@1").write(
          dir, "from"),
      log);
  const auto to_path = Builder()
                           .key("a", 1)
                           .version("a@0", 2)
                           .key("b", 1)
                           .version("b@0", 9)
                           .key("c", 1)
                           .version("c@0")
                           .write(dir, "to");
  const std::string before = unit::read_file(to_path);
  const auto to = unit::open_or_fail(to_path, log);
  assert_text(states(migrated(*from, *to)),
              "a different: material of a@0, b different: count of versions, versions that are "
              "there, material of b@0");
  assert_text(unit::read_file(to_path), before);
}

void keys_that_cannot_be_taken_over(void**) {
  TempDir dir;
  unit::Log log;
  const auto from = unit::open_or_fail(
      Builder().key("a", 1).broken("a@0").version("b").key("c", 1).version("c@0").write(dir,
                                                                                        "from"),
      log);
  const auto to = unit::open_or_fail(dir.path("to"), log);
  const Migrated keys = migrated(*from, *to);
  assert_int_equal(keys.size(), 3);
  assert_int_equal(keys.at("a").state, KeyMigration::State::failed);
  assert_int_equal(keys.at("b").state, KeyMigration::State::failed);
  assert_int_equal(keys.at("c").state, KeyMigration::State::copied);
  assert_int_equal(must(to->names()).size(), 1);
}

KeyOptions options_of(int bits) {
  KeyOptions options;
  options.cipher = kCipher;
  options.bit_length = bits;
  return options;
}

// What becomes of keys of the source between two passes.
void copies_follow_the_source(void**) {
  TempDir dir;
  unit::Log log;
  const auto from = unit::open_or_fail(dir.path("from"), log);
  const auto to = unit::open_or_fail(dir.path("to"), log);
  for (const char* name : {"gone", "grown", "anew", "kept", "touched"})
    must(from->create(name, options_of(128), nullptr));
  must(to->create("own", options_of(128), nullptr));
  MigrationReport report("a", "b");
  migrated(*from, *to, &report);
  assert_int_equal(report.all().size(), 5);

  must(from->roll("grown", nullptr));
  must(from->roll("grown", nullptr));
  assert_true(from->remove("gone").ok());
  assert_true(from->remove("touched").ok());
  assert_true(from->remove("anew").ok());
  must(from->create("anew", options_of(256), nullptr));
  must(to->roll("touched", nullptr));
  const std::string expected =
      "anew would_update: length, material of anew@0, gone would_remove, grown would_update: 2 "
      "more versions, kept already_there, touched different: deleted in the source, changed in "
      "the target";
  std::string planned = states(migrated(*from, *to, &report, false));
  // The dates, unless both were made in the same ms.
  for (const std::string_view date : {"date, ", ", date of anew@0"})
    if (const auto at = planned.find(date); at != std::string::npos) planned.erase(at, date.size());
  assert_text(planned, expected);
  migrated(*from, *to, &report);
  assert_text(states(migrated(*from, *to, &report)),
              "anew already_there, grown already_there, kept already_there, touched different: "
              "deleted in the source, changed in the target");
  assert_null(must(to->metadata("gone")).get());
  assert_int_equal(must(to->versions("grown")).size(), 3);
  assert_non_null(must(to->metadata("own")).get());

  // Back: what nobody changed since.
  must(to->roll("kept", nullptr));
  Migrated back;
  take_back(*to, report, back);
  assert_text(states(back),
              "anew removed, grown removed, kept different: changed since it was copied, touched "
              "different: changed since it was copied");
  assert_int_equal(must(to->names()).size(), 3);
}

void a_report_is_known_again(void**) {
  TempDir dir;
  unit::Log log;
  const auto from = unit::open_or_fail(
      Builder().key("a", 1).version("a@0", 'q').key("b", 1).version("b@0").write(dir, "from"), log);
  const auto to = unit::open_or_fail(dir.path("to"), log);
  const std::string file = dir.path("report");
  {
    MigrationReport killed = must(MigrationReport::open(file, "x", "y", true));
    migrated(*from, *to, &killed);
  }
  assert_false(unit::exists(file));
  // The end of the journal is missing.
  std::string journal = unit::read_file(file + ".journal");
  dir.write("report.journal", journal + "{\"name\": \"c\", \"ma");
  assert_int_equal(must(MigrationReport::load(file)).all().size(), 2);
  assert_error(MigrationReport::open(file, "x", "z", false), ErrorKind::configuration,
               "of a migration from x to y");
  MigrationReport again = must(MigrationReport::open(file, "x", "y", true));
  const Migrated keys = migrated(*from, *to, &again);
  assert_true(again.write({keys, {}, {"foreign"}, 1, true}).ok());
  assert_false(unit::exists(file + ".journal"));
  const std::string text = unit::read_file(file);
  assert_contains(text, "foreign");
  assert_false(unit::contains(text, "cXFx"));  // base64 of 'q'
  const MigrationReport loaded = must(MigrationReport::load(file));
  assert_true(loaded.all() == again.all());
  assert_text(loaded.from() + loaded.to(), "xy");
  assert_error(MigrationReport::open(dir.write("no", "[]"), "x", "y", false),
               ErrorKind::configuration, "no report");
  assert_error(MigrationReport::load(dir.path("none")), ErrorKind::configuration, "no report");
}

VersionPtr version_named(const std::string& name, std::size_t size = 16) {
  const Bytes material(size, 3);
  return std::make_shared<const KeyVersion>(
      KeyVersion{std::string(base_name(name).value_or("")), name, Secret(ByteView(material))});
}

void imports_that_make_no_sense(void**) {
  TempDir dir;
  unit::Log log;
  const auto store = unit::open_or_fail(dir.path("to"), log);
  KeyMetadata metadata;
  metadata.name = "a";
  metadata.cipher = kCipher;
  metadata.bit_length = 128;
  metadata.versions = 2;
  const auto refused = [&](const std::vector<VersionPtr>& versions) {
    auto done = store->import_key(metadata, versions);
    return done.ok() ? std::string("taken") : done.error().message;
  };
  assert_contains(refused({version_named("a@1"), version_named("a@0")}), "out of order");
  assert_contains(refused({version_named("a@2")}), "none of its versions");
  assert_contains(refused({version_named("b@0")}), "none of its versions");
  assert_contains(refused({version_named("a@0"), version_named("a@0")}), "out of order");
  assert_contains(refused({version_named("a@0", 0)}), "never leaves its store");
  metadata.name = "A";
  assert_contains(refused({}), "Uppercase");
  metadata.name = "a";
  metadata.cipher.clear();
  assert_contains(refused({}), "has no cipher");
  metadata.cipher = kCipher;
  assert_false(unit::exists(dir.path("to")));
  assert_text(refused({version_named("a@0")}), "taken");
  assert_contains(refused({version_named("a@0")}), "already exists");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(a_good_keystore_has_no_findings),
      cmocka_unit_test(what_is_wrong_with_entries),
      cmocka_unit_test(what_is_wrong_with_the_file),
      cmocka_unit_test(keystores_of_the_jdk),
      cmocka_unit_test(nothing_to_mend),
      cmocka_unit_test(what_can_be_mended),
      cmocka_unit_test(a_file_that_changes_meanwhile_is_left_alone),
      cmocka_unit_test(damaged_files_are_salvaged),
      cmocka_unit_test(nothing_to_salvage),
      cmocka_unit_test(keys_are_taken_over_as_they_are),
      cmocka_unit_test(a_dry_run_changes_nothing),
      cmocka_unit_test(what_is_there_is_left_alone),
      cmocka_unit_test(keys_that_cannot_be_taken_over),
      cmocka_unit_test(copies_follow_the_source),
      cmocka_unit_test(a_report_is_known_again),
      cmocka_unit_test(imports_that_make_no_sense),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
