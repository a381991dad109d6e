// SPDX-License-Identifier: Apache-2.0
// kms-acls.xml: lists and evaluation against what the classes of Hadoop 3.4.1 answer, the warnings,
// and hot reload.
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "acl/acl_file.h"
#include "temp_dir.h"
#include "vectors.h"

using namespace kms;
using unit::assert_contains;
using unit::assert_text;
using unit::TempDir;

namespace {

class Log : public Logger {
 public:
  void log(LogLevel, std::string_view id, std::string_view text) noexcept override {
    const std::lock_guard lock(mutex_);
    lines_ += std::string(id) + " " + std::string(text) + "\n";
  }
  std::string take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

 private:
  std::mutex mutex_;
  std::string lines_;
};

Log nowhere;

std::vector<std::string> strings(const json_t* list) {
  std::vector<std::string> out;
  std::size_t i;
  json_t* one;
  json_array_foreach(list, i, one) out.emplace_back(json_string_value(one));
  return out;
}

std::unique_ptr<Groups> groups_answering(Result<std::vector<std::string>> answer) {
  Groups::Options options;
  options.lookup = [answer](const std::string&) { return answer; };
  return std::move(*Groups::create(options, nowhere));
}

std::string rule(const std::string& name, const std::string& value) {
  return "<property><name>" + name + "</name><value>" + value + "</value></property>\n";
}

std::string rules(const std::string& body) {
  return "<configuration>\n" + body + "</configuration>";
}

std::shared_ptr<const AclSet> parse(const std::string& body,
                                    std::vector<std::string>* said = nullptr) {
  std::vector<std::string> warnings;
  hadoop::Configuration conf;
  auto parsed = hadoop::parse_site_xml(rules(body), "acls.xml", ".");
  assert_true(parsed.ok());
  conf.add(std::move(*parsed));
  auto set = AclSet::build(conf, warnings);
  assert_true(set.ok());
  if (said != nullptr) *said = warnings;
  return *set;
}

void lists_as_in_hadoop(void**) {
  const auto vectors = unit::load_json("auth-vectors.json");
  std::size_t i;
  json_t* one;
  json_array_foreach(unit::section(vectors, "acl", 19), i, one) {
    const auto groups = groups_answering(strings(json_object_get(one, "groups")));
    const std::string user = unit::text_of(one, "user"), real = unit::text_of(one, "realUser");
    const AccessList list(unit::text_of(one, "acl"));
    const bool allowed = json_is_true(json_object_get(one, "allowed"));
    assert_int_equal(list.admits({user, real}, *groups), allowed);
    assert_int_equal(list.shuts_out({user, real}, *groups), allowed);
  }
  assert_true(i >= 19);
}

OpAcl op_type(const std::string& name) {
  for (std::size_t i = 0; i < kOpAclCount; ++i)
    if (op_acl_name(static_cast<OpAcl>(i)) == name) return static_cast<OpAcl>(i);
  _fail(name.c_str(), 0);
  return OpAcl::create;
}

KeyOp key_op(const std::string& name) {
  for (std::size_t i = 0; i < kKeyOpCount; ++i)
    if (key_op_name(static_cast<KeyOp>(i)) == name) return static_cast<KeyOp>(i);
  _fail(name.c_str(), 0);
  return KeyOp::all;
}

void check_as_in_hadoop(const AclSet& set, const json_t* check) {
  const auto want = [check](const char* name) {
    return json_is_true(json_object_get(check, name));
  };
  const auto groups = groups_answering(strings(json_object_get(check, "groups")));
  const std::string user = unit::text_of(check, "user"), real = unit::text_of(check, "real");
  const Caller caller{user, real};
  if (json_object_get(check, "type") != nullptr) {
    const OpAcl type = op_type(unit::text_of(check, "type"));
    assert_int_equal(set.op_allowed(type, caller, *groups), want("allowed"));
    return;
  }
  const std::string key = unit::text_of(check, "key");
  const KeyOp op = key_op(unit::text_of(check, "op"));
  const KeyDecision decision = set.key_allowed(key, op, caller, *groups);
  assert_int_equal(set.key_acl_present(key, op), want("present"));
  assert_int_equal(decision.allowed, want("allowed"));
  assert_int_equal(decision.denied_op, want("denied_op"));
  assert_int_equal(decision.denied_all, want("denied_all"));
}

void files_as_in_hadoop(void**) {
  const auto vectors = unit::load_json("configuration-vectors.json");
  TempDir dir;
  std::size_t i, k;
  json_t *one, *check;
  json_array_foreach(unit::section(vectors, "acls", 50), i, one) {
    std::vector<std::string> warnings;
    const auto set = AclSet::load(dir.write("acls.xml", unit::text_of(one, "xml")), warnings);
    assert_true(set.ok());
    json_array_foreach(json_object_get(one, "checks"), k, check) check_as_in_hadoop(**set, check);
  }
  assert_true(i >= 50);
}

void no_rules(void**) {
  const auto groups = groups_answering(std::vector<std::string>{});
  const auto set = parse("");
  assert_true(set->op_allowed(OpAcl::create, {"a", {}}, *groups));
  assert_false(set->key_acl_present("k", KeyOp::read));
  const KeyDecision decision = set->key_allowed("k", KeyOp::read, {"a", {}}, *groups);
  assert_false(decision.allowed || decision.denied_op || decision.denied_all);
  std::vector<std::string> warnings;
  const auto missing = AclSet::load("/nowhere/kms-acls.xml", warnings);
  assert_false(missing.ok());
  assert_contains(missing.error().message, "/nowhere/kms-acls.xml: no such file");
}

// Unlike Hadoop's they admit nobody where nothing is said, and have no blacklist.
void key_trustee_acls(void**) {
  const auto groups = groups_answering(std::vector<std::string>{});
  const auto none = parse("");
  const auto some = parse(rule("keytrustee.kms.acl.UNDELETE", "alice") +
                          rule("keytrustee.kms.acl.PURGE", "*") +
                          rule("hadoop.kms.blacklist.DELETE", "alice"));
  const auto empty = parse(rule("keytrustee.kms.acl.PURGE", ""));
  for (const OpAcl type : {OpAcl::undelete, OpAcl::purge}) {
    assert_false(none->op_allowed(type, {"alice", {}}, *groups));
    assert_false(empty->op_allowed(type, {"alice", {}}, *groups));
    assert_true(some->op_allowed(type, {"alice", {}}, *groups));
  }
  assert_false(some->op_allowed(OpAcl::undelete, {"bob", {}}, *groups));
  // Each name has its one prefix.
  for (const char* name : {"hadoop.kms.acl.PURGE", "hadoop.kms.blacklist.PURGE",
                           "keytrustee.kms.acl.GET", "keytrustee.kms.acl.DELETE"}) {
    TempDir dir;
    std::vector<std::string> warnings;
    const auto set = AclSet::load(
        dir.write("acls.xml", "<configuration>" + rule(name, "*") + "</configuration>"), warnings);
    assert_true(set.ok());
    assert_int_equal(warnings.size(), 1);
    assert_contains(warnings[0], "skipped, '");
    assert_false((*set)->op_allowed(OpAcl::purge, {"a", {}}, *groups));
  }
}

void groups_that_cannot_be_told(void**) {
  const auto groups = groups_answering(Error(ErrorKind::unavailable, "down"));
  const auto set =
      parse(rule("hadoop.kms.acl.GET", "alice g") + rule("hadoop.kms.blacklist.CREATE", "hdfs g") +
            rule("key.acl.k.READ", "alice g"));
  assert_true(set->op_allowed(OpAcl::get, {"alice", {}}, *groups));
  assert_false(set->op_allowed(OpAcl::get, {"bob", {}}, *groups));
  assert_false(set->op_allowed(OpAcl::create, {"bob", {}}, *groups));
  assert_true(set->op_allowed(OpAcl::rollover, {"bob", {}}, *groups));
  assert_false(set->key_allowed("k", KeyOp::read, {"bob", {}}, *groups).allowed);
}

void groups_are_asked_for_only_when_needed(void**) {
  int asked = 0;
  Groups::Options options;
  options.lookup = [&asked](const std::string&) {
    ++asked;
    return std::vector<std::string>{};
  };
  const auto groups = std::move(*Groups::create(options, nowhere));
  assert_true(AccessList("alice,~p g").admits({"alice", {}}, *groups));
  assert_true(AccessList("alice,~p g").admits({"bob", "p"}, *groups));
  assert_true(AccessList("*").admits({"bob", {}}, *groups));
  assert_false(AccessList("alice").admits({"bob", {}}, *groups));
  assert_false(AccessList("~").admits({"bob", {}}, *groups));
  assert_int_equal(asked, 0);
  assert_false(AccessList("alice g").admits({"bob", {}}, *groups));
  assert_int_equal(asked, 1);
}

void variables_in_rules(void**) {
  TempDir dir;
  const auto groups = groups_answering(std::vector<std::string>{"g"});
  const auto path =
      dir.write("acls.xml", rules(rule("admins", "alice,bob") +
                                  rule("hadoop.kms.acl.CREATE", "${admins},${user.name}") +
                                  rule("hadoop.kms.acl.GET", "${nobody}")));
  std::vector<std::string> warnings;
  const auto set = AclSet::load(path, warnings, {{"user.name", "kms"}});
  assert_true(set.ok());
  for (const char* user : {"alice", "bob", "kms"})
    assert_true((*set)->op_allowed(OpAcl::create, {user, {}}, *groups));
  assert_false((*set)->op_allowed(OpAcl::create, {"carol", {}}, *groups));
  assert_int_equal(warnings.size(), 1);
  assert_text(
      warnings[0],
      path + ":4: property hadoop.kms.acl.GET: nothing defines ${nobody}, it stays as written");
  warnings.clear();
  dir.write("acls.xml",
            rules(rule("a", "${b}") + rule("b", "${a}") + rule("hadoop.kms.acl.GET", "${a}")));
  assert_false(AclSet::load(path, warnings).ok());
}

void skipped_rules_are_warned_of(void**) {
  std::vector<std::string> said;
  auto warning = [&](const std::string& name) {
    parse(rule(name, "alice"), &said);
    return said.size() == 1 ? said[0] : std::to_string(said.size()) + " warnings";
  };
  assert_text(warning("hadoop.kms.acl.create"),
              "acls.xml:2: property hadoop.kms.acl.create: skipped, 'create' is none of: CREATE, "
              "DELETE, ROLLOVER, "
              "GET, GET_KEYS, GET_METADATA, SET_KEY_MATERIAL, GENERATE_EEK, DECRYPT_EEK");
  assert_contains(warning("hadoop.kms.blacklist."), "skipped, '' is none of");
  assert_contains(warning("key.acl.k.REED"),
                  "'REED' is none of: READ, MANAGEMENT, GENERATE_EEK, DECRYPT_EEK, ALL");
  assert_contains(warning("key.acl.READ"), "the form is key.acl.KEY.OPERATION");
  assert_contains(warning("key.acl..READ"), "the form is key.acl.KEY.OPERATION");
  assert_contains(warning("default.key.acl.ALL"),
                  "'ALL' is none of: READ, MANAGEMENT, GENERATE_EEK, DECRYPT_EEK");
  assert_contains(warning("whitelist.key.acl.ALL"), "'ALL' is none of");
  assert_contains(warning("Key.acl.k.READ"), "is no ACL and has no effect here");
  assert_contains(warning("hadoop.kms.authentication.type"), "is no ACL and has no effect here");
  assert_text(warning("admins"), "0 warnings");
  // A skipped rule is no rule of its key.
  const auto groups = groups_answering(std::vector<std::string>{});
  const auto set = parse(rule("key.acl.k.BAD", "x") + rule("default.key.acl.READ", "*"));
  assert_true(set->key_allowed("k", KeyOp::read, {"z", {}}, *groups).allowed);
}

void traps_are_warned_of(void**) {
  std::vector<std::string> said;
  auto warning = [&](const std::string& value) {
    parse(rule("hadoop.kms.acl.GET", value), &said);
    return said.size() == 1 ? said[0] : std::to_string(said.size()) + " warnings";
  };
  for (const char* fine :
       {"*", " * ", "alice,bob g1,g2", " g1", "alice\nbob g1", " ", "~p", "alice", "a g1, g2"})
    assert_text(warning(fine), "0 warnings");
  assert_contains(warning("alice, bob"),
                  "the first blank ends the users, so these are groups: 'bob'");
  assert_contains(warning("alice ,bob"), "these are groups: 'bob'");
  assert_contains(warning("\n  alice,\n  bob\n"), "these are groups: 'alice', 'bob'");
  assert_contains(warning("alice g1 g2"), "'g1 g2' is taken as one name");
  assert_contains(warning("alice\tg1"), "'alice\\tg1' is taken as one name");
  assert_contains(warning("al*"), "'*' is no wildcard in 'al*'");
  assert_contains(warning("alice,* g1"), "'*' is no wildcard in '*'");
  assert_contains(warning("alice *"), "a lone '*' in 'alice *' admits everyone");
  assert_contains(warning(""), "Hadoop takes as not set: EVERYONE is admitted");
  parse(rule("key.acl.k.READ", ""), &said);
  assert_contains(said.at(0), "property key.acl.k.READ: has an empty value");
  // Not when another line gives the value.
  parse(rule("hadoop.kms.acl.GET", "") + rule("hadoop.kms.acl.GET", "alice"), &said);
  assert_int_equal(said.size(), 0);
}

// --- hot reload ---

const std::string kAlice = rules(rule("hadoop.kms.acl.CREATE", "alice"));
const std::string kCarol = rules(rule("hadoop.kms.acl.CREATE", "carol"));

struct Reload {
  TempDir dir;
  Log log;
  std::unique_ptr<Groups> groups = groups_answering(std::vector<std::string>{});
  std::string path = dir.write("kms-acls.xml", kAlice);
  std::unique_ptr<AclFile> file;

  Reload() {
    auto opened = AclFile::open(path, log);
    assert_true(opened.ok());
    file = std::move(*opened);
    assert_contains(log.take(), "KMS0201 Rules of " + path + " are in force");
  }
  bool creates(std::string_view user) {
    return file->current().op_allowed(OpAcl::create, {user, {}}, *groups);
  }
  void check_in_force(const char* in, const char* out) {
    assert_true(creates(in));
    assert_false(creates(out));
  }
};

void changes_come_into_force(void**) {
  Reload r;
  r.file->poll();
  assert_text(r.log.take(), "");
  r.check_in_force("alice", "carol");
  r.dir.write("kms-acls.xml",
              rules(rule("hadoop.kms.acl.CREATE", "carol") + rule("key.acl.k.X", "a")));
  r.check_in_force("alice", "carol");
  r.file->poll();
  r.check_in_force("carol", "alice");
  const std::string said = r.log.take();
  assert_contains(said, "KMS0203 " + r.path + ":3: property key.acl.k.X: skipped");
  assert_contains(said, "KMS0202 Changed rules of " + r.path + " are in force");
  r.file->poll();
  assert_text(r.log.take(), "");
}

void a_change_of_same_size_in_the_same_tick_is_seen(void**) {
  Reload r;
  for (int i = 0; i < 50; ++i) {
    r.dir.write("kms-acls.xml", i % 2 == 0 ? kCarol : kAlice);
    r.file->poll();
    if (i % 2 == 0)
      r.check_in_force("carol", "alice");
    else
      r.check_in_force("alice", "carol");
  }
}

void a_change_that_keeps_the_times_is_seen(void**) {
  Reload r;
  struct stat before {};
  assert_int_equal(stat(r.path.c_str(), &before), 0);
  r.dir.write("kms-acls.xml", kCarol);
  const timespec times[2] = {before.st_atim, before.st_mtim};
  assert_int_equal(utimensat(AT_FDCWD, r.path.c_str(), times, 0), 0);
  r.file->poll();
  r.check_in_force("carol", "alice");
}

void a_file_renamed_over_is_seen(void**) {
  Reload r;
  std::filesystem::rename(r.dir.write("new", kCarol), r.path);
  r.file->poll();
  r.check_in_force("carol", "alice");
}

void a_broken_file_keeps_the_old_rules(void**) {
  Reload r;
  r.dir.write("kms-acls.xml", "<configuration>\n<property>");
  r.file->poll();
  r.check_in_force("alice", "carol");
  assert_text(r.log.take(), "KMS0204 " + r.path +
                                ":2:11: no element found; the rules read before stay in force\n");
  r.file->poll();
  r.file->poll();
  assert_text(r.log.take(), "");
  r.dir.write("kms-acls.xml", "");
  r.file->poll();
  assert_contains(r.log.take(), "KMS0204");
  r.check_in_force("alice", "carol");
  r.dir.write("kms-acls.xml", kCarol);
  r.file->poll();
  r.check_in_force("carol", "alice");
}

void a_vanished_file_keeps_the_old_rules(void**) {
  Reload r;
  std::filesystem::remove(r.path);
  r.file->poll();
  r.file->poll();
  r.check_in_force("alice", "carol");
  assert_text(r.log.take(), "KMS0205 " + r.path +
                                " is gone or out of reach; the rules read before stay in force\n");
  r.dir.write("kms-acls.xml", kCarol);
  r.file->poll();
  r.check_in_force("carol", "alice");
  std::filesystem::remove(r.path);
  std::filesystem::create_directory(r.path);
  r.file->poll();
  assert_contains(r.log.take(), "is not a regular file; the rules read before stay in force");
  r.check_in_force("carol", "alice");
}

void a_bad_file_does_not_open(void**) {
  TempDir dir;
  assert_false(AclFile::open(dir.path("none.xml"), nowhere).ok());
  const auto broken = AclFile::open(dir.write("kms-acls.xml", "<configuration>"), nowhere);
  assert_false(broken.ok());
  assert_contains(broken.error().message, dir.path("kms-acls.xml") + ":1:16: ");
}

void readers_never_see_half_a_change(void**) {
  Reload r;
  std::atomic<bool> stop{false}, torn{false};
  std::vector<std::thread> readers;
  for (int t = 0; t < 4; ++t) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        const AclSet& set = r.file->current();
        const bool alice = set.op_allowed(OpAcl::create, {"alice", {}}, *r.groups);
        const bool carol = set.op_allowed(OpAcl::create, {"carol", {}}, *r.groups);
        if (alice == carol) torn = true;
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    std::filesystem::rename(r.dir.write("new", i % 2 == 0 ? kCarol : kAlice), r.path);
    r.file->poll();
    if (i % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  assert_false(torn);
  r.check_in_force("alice", "carol");
}

void two_files_in_one_thread(void**) {
  Reload a, b;
  b.dir.write("kms-acls.xml", kCarol);
  b.file->poll();
  a.check_in_force("alice", "carol");
  b.check_in_force("carol", "alice");
  a.check_in_force("alice", "carol");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(lists_as_in_hadoop),
      cmocka_unit_test(files_as_in_hadoop),
      cmocka_unit_test(no_rules),
      cmocka_unit_test(groups_that_cannot_be_told),
      cmocka_unit_test(key_trustee_acls),
      cmocka_unit_test(groups_are_asked_for_only_when_needed),
      cmocka_unit_test(variables_in_rules),
      cmocka_unit_test(skipped_rules_are_warned_of),
      cmocka_unit_test(traps_are_warned_of),
      cmocka_unit_test(changes_come_into_force),
      cmocka_unit_test(a_change_of_same_size_in_the_same_tick_is_seen),
      cmocka_unit_test(a_change_that_keeps_the_times_is_seen),
      cmocka_unit_test(a_file_renamed_over_is_seen),
      cmocka_unit_test(a_broken_file_keeps_the_old_rules),
      cmocka_unit_test(a_vanished_file_keeps_the_old_rules),
      cmocka_unit_test(a_bad_file_does_not_open),
      cmocka_unit_test(readers_never_see_half_a_change),
      cmocka_unit_test(two_files_in_one_thread),
  };
  return cmocka_run_group_tests_name("acl", tests, nullptr, nullptr);
}
