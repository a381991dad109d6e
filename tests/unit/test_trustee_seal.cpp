// SPDX-License-Identifier: Apache-2.0
// The sealing keys of a store on a real PostgreSQL: from each kind to each other one while two
// nodes serve, what is not trusted, and what happens when an HSM is lost.
#include "keystore/postgres/trustee_seal.h"

#include <sstream>

#include "keystore/postgres/bulk.h"
#include "pkcs11/access.h"
#include "pkcs11/apart.h"
#include "records/records.h"
#include "trustee_node.h"
// After it: its eventually() counts seconds.
#include "hsm_util.h"

namespace {

using namespace kms;
using unit::aes;
using unit::good;
using unit::Lines;
using unit::server;

using Change = std::function<void(TrusteeOptions&)>;

// A database of its own, and the configurations of a rotation of its sealing key.
class Rotation {
 public:
  explicit Rotation(const std::string& name, const Change& first) : name_(name) {
    server->run("CREATE DATABASE " + name);
    old_ = server->options();
    old_.seal_key_file.clear();
    first(old_);
    good(upgrade_trustee_store(uri(), old_, true));
  }
  std::string uri() const {
    return "trustee://kms@127.0.0.1:" + std::to_string(server->port()) + "/" + name_;
  }
  std::unique_ptr<postgres::Connection> connect() const {
    postgres::ServerOptions options;
    options.where = {"kms", name_, {}};
    options.ssl_mode = "disable";
    return good(postgres::Connection::open(options, {"127.0.0.1", std::to_string(server->port())},
                                           steady_ms() + 60000));
  }
  const TrusteeOptions& old() const { return old_; }
  // The new key, with the old one as the previous.
  TrusteeOptions both(const Change& change) const {
    TrusteeOptions both = alone(change);
    both.previous_key_file = old_.seal_key_file;
    both.previous_passphrase_file = old_.seal_passphrase_file;
    both.previous_hsm_key = old_.seal_hsm_key;
    return both;
  }
  TrusteeOptions alone(const Change& change) const {
    TrusteeOptions options = old_;
    options.seal_key_file.clear();
    options.seal_passphrase_file.clear();
    options.seal_hsm_key.clear();
    change(options);
    return options;
  }

 private:
  const std::string name_;
  TrusteeOptions old_;
};

std::string secret_file(const std::string& name, const std::string& content) {
  const std::string path = server->dir().write(name, content);
  chmod(path.c_str(), 0600);
  return path;
}

Change by_file(char byte) {
  return [byte](TrusteeOptions& o) {
    o.seal_key_file = secret_file(std::string("key-") + byte, std::string(32, byte));
  };
}

Change by_passphrase() {
  return [](TrusteeOptions& o) {
    o.seal_passphrase_file = secret_file("passphrase", "correct horse battery\n");
  };
}

Change by_hsm(const unit::Hsm& token, const std::string& label) {
  return [&token, label](TrusteeOptions& o) {
    o.hsm = token.options().hsm;
    o.seal_hsm_key = label;
  };
}

struct Served {
  Lines lines;
  std::unique_ptr<KeyStore> store;
  Served(const std::string& uri, const TrusteeOptions& options) {
    store = good(open_trustee_store(uri, options, lines, false));
    good(store->attach());
  }
  ~Served() { store->detach(); }
  KeyStore* operator->() { return store.get(); }
};

SealWork rewrap(const Rotation& rotation, const TrusteeOptions& options) {
  Lines lines;
  return good(rewrap_seals(rotation.uri(), options, lines, [](std::int64_t) {}));
}

// The same in a process of its own, as kmsctl is: two users of one PKCS#11 library in a process
// would finalize it under each other. Forked before there are threads.
class RewrapApart {
 public:
  RewrapApart(const Rotation& rotation, const TrusteeOptions& options) {
    assert_int_equal(pipe(go_) | pipe(told_), 0);
    child_ = fork();
    if (child_ != 0) return;
    char go = 0;
    if (read(go_[0], &go, 1) != 1) _exit(1);
    Lines lines;
    auto work = rewrap_seals(rotation.uri(), options, lines, [](std::int64_t) {});
    const std::string text = work.ok()
                                 ? std::to_string(work->rows) + " " + std::to_string(work->left) +
                                       " " + std::to_string(work->failed) + " " + work->id
                                 : work.error().message;
    _exit(write(told_[1], text.data(), text.size()) > 0 && work.ok() ? 0 : 1);
  }
  ~RewrapApart() {
    for (const int fd : {go_[0], go_[1], told_[0], told_[1]}) close(fd);
    if (child_ > 0) waitpid(child_, nullptr, 0);
  }
  SealWork run() {
    assert_int_equal(write(go_[1], "x", 1), 1);
    char text[512] = "";
    assert_true(read(told_[0], text, sizeof text - 1) > 0);
    SealWork work;
    std::istringstream in(text);
    in >> work.rows >> work.left >> work.failed >> work.id;
    if (in.fail()) _fail(text, 0);
    return work;
  }

 private:
  int go_[2], told_[2];
  pid_t child_ = -1;
};

SealWork validate(const Rotation& rotation, const TrusteeOptions& options) {
  Lines lines;
  return good(validate_seals(rotation.uri(), options, lines, [](std::int64_t) {}));
}

std::string current_of(const SealReport& report) {
  for (const SealReport::Key& key : report.keys)
    if (key.current) return key.id;
  return {};
}

// Calls that read, make, roll and delete, until told to stop. Every failure is kept.
class Load {
 public:
  Load(KeyStore& store, KeyStore& other, std::string prefix)
      : store_(store), other_(other), prefix_(std::move(prefix)), thread_([this] { run(); }) {}
  ~Load() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int calls() const { return calls_; }
  std::string failure() const {
    const std::lock_guard hold(mutex_);
    return failure_;
  }
  std::map<std::string, std::string> made;  // after stop()

 private:
  template <class T>
  bool is_good(const Result<T>& result) {
    ++calls_;
    if (result.ok()) return true;
    const std::lock_guard hold(mutex_);
    failure_ += const_cast<Result<T>&>(result).error().message + "\n";
    return false;
  }
  void run() {
    for (int i = 0; !stop_; ++i) {
      const std::string name = prefix_ + std::to_string(i);
      auto key = store_.create(name, aes(), nullptr);
      if (!is_good(key)) continue;
      auto rolled = store_.roll(name, nullptr);
      if (!is_good(rolled)) continue;
      made[(*key)->version_name] = unit::to_hex((*key)->material.view());
      made[(*rolled)->version_name] = unit::to_hex((*rolled)->material.view());
      (void)other_.invalidate(name).ok();
      auto read = other_.version(name + "@1");
      if (is_good(read) &&
          (*read == nullptr || !(*read)->material.equals((*rolled)->material.view())))
        is_good(Result<void>(Error(ErrorKind::io, name + ": another material")));
      is_good(store_.remove(name));
      is_good(store_.undelete(name));
    }
  }
  KeyStore& store_;
  KeyStore& other_;
  const std::string prefix_;
  std::atomic<bool> stop_{false};
  std::atomic<int> calls_{0};
  mutable std::mutex mutex_;
  std::string failure_;
  std::thread thread_;
};

void in_a_process(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  assert_int_equal(status, 0);
}

// Two nodes with both keys, under load: trust, rewrap, take the old one away.
void rotate_under_load(const Rotation& rotation, const Change& next) {
  const TrusteeOptions both = rotation.both(next), alone = rotation.alone(next);
  std::map<std::string, std::string> before;
  {
    Served node(rotation.uri(), rotation.old());
    for (int i = 0; i < 20; ++i) {
      const VersionPtr made = good(node->create("old" + std::to_string(i), aes(), nullptr));
      before[made->version_name] = unit::to_hex(made->material.view());
    }
    good(node->remove("old0"));
    for (int i = 0; i < 5; ++i)
      assert_true(good(node->records()->put(
          "Test", {i, 0, 0, Secret("what nodes share " + std::to_string(i))})));
  }
  Lines lines;
  // Nobody has trusted it yet.
  unit::assert_contains(open_trustee_store(rotation.uri(), both, lines, true).error().message,
                        "is not the one that the store is sealed with");
  const SealReport trusted = good(trust_sealing_key(rotation.uri(), both));
  assert_int_equal(trusted.keys.size(), 2);
  const std::string old_id = current_of(trusted);
  assert_int_equal(good(trust_sealing_key(rotation.uri(), both)).keys.size(), 2);
  // Not without the old one, as long as it seals.
  assert_false(open_trustee_store(rotation.uri(), alone, lines, true).ok());
  assert_int_equal(distrust_sealing_key(rotation.uri(), both, old_id).error().kind,
                   ErrorKind::invalid_argument);
  SealWork done;
  {
    RewrapApart work(rotation, both);
    Served a(rotation.uri(), both), b(rotation.uri(), both);
    Load first(*a.store, *b.store, "a"), second(*b.store, *a.store, "b");
    assert_true(unit::eventually([&] { return first.calls() > 20 && second.calls() > 20; }, 30));
    done = work.run();
    const int then = first.calls();
    assert_true(unit::eventually([&] { return first.calls() > then + 20; }, 30));
    first.stop();
    second.stop();
    unit::assert_text(first.failure() + second.failure(), "");
    for (Load* load : {&first, &second}) before.insert(load->made.begin(), load->made.end());
    print_message("%d calls, none failed; %d rows rewrapped\n", first.calls() + second.calls(),
                  static_cast<int>(done.rows));
  }
  assert_int_equal(done.left, 0);
  assert_int_equal(done.failed, 0);
  assert_true(done.rows >= 45);
  assert_int_equal(rewrap(rotation, both).rows, 0);
  const SealReport after = good(distrust_sealing_key(rotation.uri(), both, old_id));
  assert_int_equal(after.keys.size(), 1);
  // Who only looks, as kmsctl migrate, needs the key as well.
  in_a_process([&] {
    auto look = good(open_trustee_store(rotation.uri(), alone, lines, true));
    assert_true(good(look->current_version("old1")) != nullptr);
  });
  assert_true(after.problems.empty());
  unit::assert_text(current_of(after), done.id);
  assert_true(done.id != old_id);
  // The old key is of no use any more, the new one opens everything, deleted keys as well.
  assert_false(open_trustee_store(rotation.uri(), rotation.old(), lines, true).ok());
  {
    Served node(rotation.uri(), alone);
    good(node->undelete("old0"));
    for (const auto& [version, material] : before)
      unit::assert_text(unit::to_hex(good(node->version(version))->material.view()), material);
    for (int i = 0; i < 5; ++i) {
      const RecordPtr record = good(node->records()->find("Test", i));
      assert_true(record->content.equals(as_bytes("what nodes share " + std::to_string(i))));
    }
    good(node->roll("old1", nullptr));
  }
  const SealWork valid = validate(rotation, alone);
  assert_int_equal(valid.failed, 0);
  assert_true(valid.rows > done.rows);
}

void from_file_to_file(void**) {
  rotate_under_load(Rotation("files", by_file('a')), by_file('b'));
}

void from_passphrase_to_file(void**) {
  rotate_under_load(Rotation("phrase", by_passphrase()), by_file('c'));
}

void from_file_to_hsm_and_on(void**) {
  unit::require_token();
  unit::Hsm token;
  TrusteeOptions setup;
  for (const char* label : {"seal-1", "seal-2"}) {
    by_hsm(token, label)(setup);
    assert_true(good(seal_setup(setup)).made);
    assert_false(good(seal_setup(setup)).made);
  }
  rotate_under_load(Rotation("tohsm", by_file('d')), by_hsm(token, "seal-1"));
  rotate_under_load(Rotation("hsms", by_hsm(token, "seal-1")), by_hsm(token, "seal-2"));
}

// Killed in the middle it goes on where it was; both keys serve meanwhile.
void an_interrupted_rewrap_goes_on(void**) {
  const Rotation rotation("killed", by_file('e'));
  const TrusteeOptions both = rotation.both(by_file('f'));
  {
    Served node(rotation.uri(), rotation.old());
    for (int i = 0; i < 250; ++i) good(node->create("k" + std::to_string(i), aes(), nullptr));
  }
  good(trust_sealing_key(rotation.uri(), both));
  const pid_t child = fork();
  if (child == 0) {
    Lines lines;
    int rows = 0;
    (void)rewrap_seals(rotation.uri(), both, lines, [&](std::int64_t) {
      if (++rows == 250) kill(getpid(), SIGKILL);
    });
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  assert_true(WIFSIGNALED(status));
  SealReport report = good(seal_settings(rotation.uri(), both));
  assert_int_equal(report.keys.size(), 2);
  for (const SealReport::Key& key : report.keys) assert_true(key.rows > 0 && key.configured);
  {
    Served node(rotation.uri(), both);
    for (int i = 0; i < 250; ++i) good(node->current_version("k" + std::to_string(i)));
    good(node->roll("k249", nullptr));
  }
  // Half a configuration is said, and what it cannot open is refused by name.
  const TrusteeOptions alone = rotation.alone(by_file('f'));
  assert_int_equal(good(seal_settings(rotation.uri(), alone)).problems.size(), 1);
  {
    Served node(rotation.uri(), alone);
    auto refused = node->current_version("k99");
    for (int i = 0; i < 250 && refused.ok(); ++i)
      refused = node->current_version("k" + std::to_string(i));
    assert_int_equal(refused.error().kind, ErrorKind::io);
    unit::assert_contains(refused.error().message, "it is sealed by the sealing key file-");
  }
  const SealWork rest = rewrap(rotation, both);
  assert_int_equal(rest.left, 0);
  assert_true(rest.rows < 500);
  assert_int_equal(good(seal_settings(rotation.uri(), alone)).problems.size(), 0);
}

void damage_is_found_and_left(void**) {
  const Rotation rotation("damaged", by_file('g'));
  const TrusteeOptions both = rotation.both(by_file('h'));
  {
    Served node(rotation.uri(), rotation.old());
    for (const char* name : {"good", "bad"}) good(node->create(name, aes(), nullptr));
  }
  good(rotation.connect()->run(
      "UPDATE kms_key_version SET wrapped_key = '\\x0102' WHERE name = 'bad'"));
  SealWork found = validate(rotation, rotation.old());
  assert_int_equal(found.failed, 1);
  assert_int_equal(found.rows, 4);
  unit::assert_contains(found.problems.at(0), "bad@0 of kms_key_version");
  good(trust_sealing_key(rotation.uri(), both));
  const SealWork work = rewrap(rotation, both);
  assert_int_equal(work.rows, 3);
  assert_int_equal(work.failed, 1);
  assert_int_equal(work.left, 1);
  // The key that it is sealed by stays trusted.
  const SealReport report = good(seal_settings(rotation.uri(), both));
  for (const SealReport::Key& key : report.keys)
    if (!key.current)
      assert_int_equal(distrust_sealing_key(rotation.uri(), both, key.id).error().kind,
                       ErrorKind::invalid_argument);
}

// A node that did not hear of it cannot bring a row under a key that is not trusted any more.
void a_key_without_trust_seals_nothing(void**) {
  const Rotation rotation("deaf", by_file('i'));
  const TrusteeOptions both = rotation.both(by_file('j'));
  TrusteeOptions deaf = both;
  deaf.poll_ms = 60000;
  good(trust_sealing_key(rotation.uri(), both));
  Served node(rotation.uri(), deaf);
  good(node->create("before", aes(), nullptr));
  const std::string old_id = current_of(good(seal_settings(rotation.uri(), both)));
  assert_int_equal(rewrap(rotation, both).left, 0);
  good(distrust_sealing_key(rotation.uri(), both, old_id));
  // Its first call learns, before it seals or after.
  std::string asked;
  good(node->create("after", aes(), nullptr, [&](const KeyVersion* fresh) -> Result<void> {
    asked += fresh->version_name + " ";
    return {};
  }));
  unit::assert_text(asked, "after@0 ");
  const SealReport report = good(seal_settings(rotation.uri(), rotation.alone(by_file('j'))));
  assert_int_equal(report.problems.size(), 0);
}

// The trust goes while keys are being sealed by it: their transactions wait for the one that takes
// it away, and find it gone.
void trust_goes_under_creates(void**) {
  const Rotation rotation("taken", by_file('k'));
  const TrusteeOptions both = rotation.both(by_file('l'));
  const std::string old_id = current_of(good(trust_sealing_key(rotation.uri(), both)));
  Served node(rotation.uri(), both);
  auto bulk = good(postgres::BulkAccess::open(rotation.uri(), both, true));
  KeyRecord restored;
  restored.metadata = {"restored", "AES/CTR/NoPadding", 128, {}, {}, 1, 1};
  restored.versions.push_back({0, 1, Secret(Bytes(16, 7))});
  auto connection = rotation.connect();
  const auto run = [&](const std::string& sql) { return good(connection->run(sql.c_str())); };
  // As 'rewrap' and 'trust --remove' do, which hold the shards.
  run("BEGIN");
  run("UPDATE kms_change SET counter = counter + 1");
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      const bool made =
          i == 0 ? node->records()->put("Test", {0, 0, 0, Secret(std::string_view("shared"))}).ok()
                 : node->create("new" + std::to_string(i), aes(), nullptr).ok();
      refused += made ? 0 : 1;
    });
  threads.emplace_back([&] { refused += bulk.insert({&restored}).ok() ? 0 : 1; });
  assert_true(unit::eventually(
      [&] {
        return server->run(
                   "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'taken'"
                   " AND wait_event_type = 'Lock'") == "5";
      },
      60));
  run("UPDATE kms_seal SET state = 'current' WHERE seal_id <> '" + old_id + "'");
  run("DELETE FROM kms_seal WHERE seal_id = '" + old_id + "'");
  run("COMMIT");
  for (std::thread& each : threads) each.join();
  assert_int_equal(refused, 0);
  const SealReport report = good(seal_settings(rotation.uri(), both));
  for (const SealReport::Key& key : report.keys) assert_true(key.id != old_id);
  unit::assert_text(good(node->current_version("restored"))->version_name, "restored@0");
}

void a_lost_hsm(void**) {
  unit::require_token("remote");
  unit::Hsm token("remote");
  const Change seal = [&](TrusteeOptions& o) {
    by_hsm(token, "seal")(o);
    o.timeout_ms = 5000;
    o.stale_reads_ms = 4000;
  };
  TrusteeOptions setup;
  seal(setup);
  good(seal_setup(setup));
  const Rotation rotation("lost", seal);
  in_a_process([&] {
    Served other(rotation.uri(), rotation.old());
    good(other->create("unseen", aes(), nullptr));
  });
  Served node(rotation.uri(), rotation.old());
  const VersionPtr known = good(node->create("known", aes(), nullptr));
  // The look for changes of others meets this one as well, and drops it once.
  const std::int64_t made = steady_ms();
  while (steady_ms() < made + 1500) {
    good(node->current_version("known"));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  token.server->kill();
  const std::int64_t killed = steady_ms();
  const auto refused = [](const Error& error) {
    assert_int_equal(error.kind, ErrorKind::unavailable);
    unit::assert_contains(error.message, "HSM");
    assert_int_equal(error.retry_after_s, 2);
  };
  refused(node->current_version("unseen").error());
  refused(node->create("new", aes(), nullptr).error());
  refused(node->roll("known", nullptr).error());
  assert_true(unit::eventually([&] { return node->condition().state == HealthState::degraded; }));
  while (steady_ms() < killed + 2500) {
    assert_true(good(node->current_version("known"))->material.equals(known->material.view()));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  // Who takes the HSM away takes the keys away.
  assert_true(unit::eventually([&] { return !node->current_version("known").ok(); }, 20));
  refused(node->current_version("known").error());
  assert_int_equal(node->condition().state, HealthState::failing);
  Lines lines;
  unit::assert_contains(
      open_trustee_store(rotation.uri(), rotation.old(), lines, true).error().message,
      "the HSM cannot be used");
  token.server->start();
  assert_true(unit::eventually([&] { return node->current_version("known").ok(); }));
  good(node->current_version("unseen"));
  assert_null(good(node->metadata("new")).get());
  assert_int_equal(good(node->metadata("known"))->versions, 1);
  good(node->roll("known", nullptr));
  assert_true(node->condition().state == HealthState::good);
  assert_false(node.lines.has("KMS0134"));
}

// The end of the key in the token is the end of every row, whoever has the database.
void a_destroyed_sealing_key(void**) {
  unit::require_token();
  unit::Hsm token;
  TrusteeOptions setup;
  by_hsm(token, "seal")(setup);
  good(seal_setup(setup));
  const Rotation rotation("destroyed", by_hsm(token, "seal"));
  {
    Served node(rotation.uri(), rotation.old());
    good(node->create("gone", aes(), nullptr));
  }
  const auto access =
      good(pkcs11::TokenAccess::read(token.options().hsm, *pkcs11::find_profile("generic")));
  good(pkcs11::work_apart(access, {}, [](const pkcs11::Session& session) -> Result<std::string> {
    std::vector<pkcs11::TokenKey> keys;
    if (pkcs11::list_keys(session, keys) != CKR_OK || keys.size() != 1 ||
        pkcs11::destroy_key(session, keys[0].id, keys[0].label) != CKR_OK)
      return Error(ErrorKind::io, "not destroyed");
    return std::string();
  }));
  // Another key of this name is another key.
  assert_true(good(seal_setup(setup)).made);
  Lines lines;
  unit::assert_contains(
      open_trustee_store(rotation.uri(), rotation.old(), lines, true).error().message,
      "does not have the key");
  {
    Served node(rotation.uri(), rotation.old());
    assert_int_equal(node->current_version("gone").error().kind, ErrorKind::unavailable);
  }
  assert_false(validate_seals(rotation.uri(), rotation.old(), lines, [](std::int64_t) {}).ok());
}

void setup_makes_a_key_file(void**) {
  TrusteeOptions options;
  options.seal_key_file = server->dir().path("made.key");
  const SealSetup first = good(seal_setup(options));
  assert_true(first.made);
  assert_int_equal(std::filesystem::file_size(options.seal_key_file), 32);
  assert_false(good(seal_setup(options)).made);
  options.seal_key_file = server->dir().path("none/made.key");
  assert_false(seal_setup(options).ok());
  assert_int_equal(seal_setup({}).error().kind, ErrorKind::configuration);
}

}  // namespace

int main() {
  ::signal(SIGPIPE, SIG_DFL);
  const CMUnitTest tests[] = {
      cmocka_unit_test(setup_makes_a_key_file),
      cmocka_unit_test(from_file_to_file),
      cmocka_unit_test(from_passphrase_to_file),
      cmocka_unit_test(from_file_to_hsm_and_on),
      cmocka_unit_test(an_interrupted_rewrap_goes_on),
      cmocka_unit_test(damage_is_found_and_left),
      cmocka_unit_test(a_key_without_trust_seals_nothing),
      cmocka_unit_test(trust_goes_under_creates),
      cmocka_unit_test(a_lost_hsm),
      cmocka_unit_test(a_destroyed_sealing_key),
  };
  return unit::run_on_a_store(tests);
}
