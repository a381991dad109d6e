// SPDX-License-Identifier: Apache-2.0
// Objects that another process made and that this one does not see, as with SoftHSM after a change
// of its own: they are found by a new login, and what is lost stays a matter of its own requests.
#include <sys/prctl.h>

#include <atomic>
#include <csignal>

#include "core/clock.h"
#include "hsm_util.h"

using namespace kms;
using namespace kms::pkcs11;
using unit::aes_key;
using unit::Aside;
using unit::assert_kind;
using unit::eventually;
using unit::Hsm;
using unit::Log;
using unit::need;

namespace {

// A process with a store of its own on the same token and file, which does what it is told.
class Other {
 public:
  explicit Other(const Hsm& hsm) {
    int to[2], from[2];
    if (::pipe(to) != 0 || ::pipe(from) != 0) _fail("pipe", 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // of a test that fails, too
      ::close(to[1]);
      ::close(from[0]);
      ::_exit(serve(hsm, to[0], from[1]));
    }
    ::close(to[0]);
    ::close(from[1]);
    to_ = to[1];
    from_ = from[0];
    wait();  // it has logged in
  }
  ~Other() {
    ::close(to_);
    ::close(from_);
    ::waitpid(pid_, nullptr, 0);
  }
  void create(const std::string& name) { tell('c', name); }
  // Ends between object and file, and leaves a note.
  void die_in_creation_of(const std::string& name) {
    const std::string line = "x" + name + "\n";
    assert_int_equal(::write(to_, line.data(), line.size()), line.size());
    int status = 0;
    assert_int_equal(::waitpid(pid_, &status, 0), pid_);
    assert_int_equal(WEXITSTATUS(status), 9);
  }

 private:
  static int serve(const Hsm& hsm, int in, int out) {
    Log log;
    auto store = open_store(hsm.options(), log, false);
    if (!store.ok() || !(*store)->attach().ok()) return 1;
    FILE* lines = ::fdopen(in, "r");
    char line[200];
    while (::write(out, ".", 1) == 1 && std::fgets(line, sizeof line, lines) != nullptr) {
      std::string name(line + 1);
      name.pop_back();
      const Approval die = [](const KeyVersion*) -> Result<void> { ::_exit(9); };
      if (!(*store)->create(name, aes_key(), nullptr, line[0] == 'x' ? die : Approval()).ok())
        return 1;
    }
    return 0;
  }
  void wait() {
    char done = 0;
    assert_int_equal(::read(from_, &done, 1), 1);
  }
  void tell(char what, const std::string& name) {
    const std::string line = what + name + "\n";
    assert_int_equal(::write(to_, line.data(), line.size()), line.size());
    wait();
  }
  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
};

// Behind p11-kit's server the session aside is in another process than the store's.
bool hides() {
  return unit::token_kind() == "softhsm";
}

// Destroys the objects of all versions of a key, as nobody should.
void lose_objects(const Hsm& hsm, const std::string& name) {
  const Aside aside(hsm);
  const State state = need(parse_state(as_bytes(unit::read_file(hsm.dir.path("kms.hsm")))));
  for (const TokenVersionPtr& each : state.find(name)->versions)
    assert_int_equal(destroy_key(aside.session(), each->key->id, each->key->label), CKR_OK);
}

// A store with a key in this process, and another process.
struct Pair {
  explicit Pair(const std::string& library = {}) : other(hsm) {
    StoreOptions options = hsm.options();
    if (!library.empty()) options.hsm.library = library;
    options.hsm.timeout_ms = 3000;
    store = Hsm::open(log, options);
    need(store->create("warm", aes_key(), nullptr));
  }
  Hsm hsm;
  Log log;
  Other other;
  std::unique_ptr<KeyStore> store;
};

// Keys that the other one makes while this process looks at nothing, and then changes something.
void create_unseen(Pair& it, const std::string& prefix, int count) {
  const Aside aside(it.hsm);
  for (int i = 0; i < count; ++i) it.other.create(prefix + std::to_string(i));
  aside.change();
  need(it.store->invalidate(prefix + "0"));
}

// Uses a key all the time, and knows how long that took at most.
class Load {
 public:
  Load(KeyStore& store, const std::string& name)
      : thread_([this, &store, name] {
          while (!stop_) {
            const std::int64_t begun = steady_ms();
            failed_ += !store.generate_eeks(name, 1).ok();
            longest_ = std::max<std::int64_t>(longest_, steady_ms() - begun);
          }
        }) {}
  ~Load() { end(); }
  // How many failed.
  std::int64_t end() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return failed_;
  }
  std::int64_t longest() const { return longest_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::int64_t> failed_{0}, longest_{0};
  std::thread thread_;
};

void is_found_by_a_new_login(void**) {
  unit::require_token();
  Pair it;
  create_unseen(it, "one-", 1);
  auto load = std::make_unique<Load>(*it.store, "warm");
  assert_int_equal(need(it.store->generate_eeks("one-0", 3)).size(), 3);
  if (hides()) assert_int_equal(it.log.count("KMS0166"), 1);
  // Many of them, and one login: that waits, as there was one just before.
  const std::size_t before = it.log.count("KMS0166");
  assert_int_equal(load->end(), 0);
  create_unseen(it, "many-", 30);
  load = std::make_unique<Load>(*it.store, "warm");
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  const std::int64_t begun = steady_ms();
  for (int i = 0; i < 30; ++i)
    threads.emplace_back(
        [&, i] { good += it.store->generate_eeks("many-" + std::to_string(i), 1).ok(); });
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(good.load(), 30);
  assert_true(steady_ms() - begun < 4000);
  if (hides()) assert_in_range(it.log.count("KMS0166") - before, 1, 2);
  assert_int_equal(load->end(), 0);
  for (const char* id : {"KMS0141", "KMS0143", "KMS0146", "KMS0148"})
    assert_int_equal(it.log.count(id), 0);
  assert_true(it.store->condition().state == HealthState::good);
}

void what_is_lost_disturbs_nobody(void**) {
  unit::require_token();
  Pair it;
  for (const char* name : {"lost-a", "lost-b"}) {
    need(it.store->create(name, aes_key(), nullptr));
    lose_objects(it.hsm, name);
  }
  auto load = std::make_unique<Load>(*it.store, "warm");
  assert_kind(it.store->generate_eeks("lost-a", 1), ErrorKind::corrupt, "does not have the key");
  assert_int_equal(it.log.count("KMS0166"), 1);
  const std::int64_t begun = steady_ms();
  for (int i = 0; i < 200; ++i)
    assert_kind(it.store->generate_eeks("lost-a", 1), ErrorKind::corrupt, "does not have the key");
  assert_true(steady_ms() - begun < 2000);
  assert_kind(it.store->generate_eeks("lost-b", 1), ErrorKind::corrupt, "does not have the key");
  assert_int_equal(it.log.count("KMS0166"), 2);
  assert_int_equal(it.log.count("KMS0146"), 2);
  // With a new look every few seconds by now: refused for that long, and then served.
  assert_int_equal(load->end(), 0);
  assert_true(load->longest() < 2000);
  create_unseen(it, "there-", 1);
  load = std::make_unique<Load>(*it.store, "warm");
  assert_true(eventually([&] {
    auto made = it.store->generate_eeks("there-0", 1);
    if (!made.ok()) assert_kind(made, ErrorKind::unavailable, "not seen");
    return made.ok();
  }));
  if (hides()) assert_int_equal(it.log.count("KMS0166"), 3);
  assert_int_equal(load->end(), 0);
  assert_true(load->longest() < 2000);
  assert_int_equal(it.log.count("KMS0141"), 0);
}

void is_destroyed_with_its_key(void**) {
  unit::require_token();
  Pair it;
  create_unseen(it, "deleted-", 1);
  need(it.store->remove("deleted-0"));
  // What is gone already costs one look for all of them.
  need(it.store->create("gone", aes_key(), nullptr));
  for (int i = 0; i < 5; ++i) need(it.store->roll("gone", nullptr));
  lose_objects(it.hsm, "gone");
  const std::size_t before = it.log.count("KMS0166");
  need(it.store->remove("gone"));
  assert_int_equal(it.log.count("KMS0166"), before + 1);
  it.store.reset();
  for (const Finding& each : need(examine(it.hsm.options(), it.log)).findings)
    assert_true(each.kind == Finding::Kind::foreign || each.label == "warm@0");
}

// A note is not taken away because of an object that this process does not see.
void is_mended_after_a_crash(void**) {
  unit::require_token();
  Pair it;
  Aside aside(it.hsm);
  it.other.die_in_creation_of("half");
  aside.change();
  State state = need(parse_state(as_bytes(unit::read_file(it.hsm.dir.path("kms.hsm")))));
  assert_int_equal(state.pending.size(), 1);
  state.pending[0].destroy = true;  // as of a deletion: what is not there is done with
  it.hsm.dir.write("kms.hsm", need(encode_state(state)));
  need(it.store->invalidate("half"));
  it.store->poll();
  assert_int_equal(it.log.count("KMS0157"), 1);
  state = need(parse_state(as_bytes(unit::read_file(it.hsm.dir.path("kms.hsm")))));
  assert_true(state.pending.empty());
  it.store.reset();
  for (const Finding& each : need(examine(it.hsm.options(), it.log)).findings)
    assert_true(each.kind == Finding::Kind::foreign || each.label == "warm@0");
}

// Calls that hang are not waited for, and not left behind either.
void waits_for_a_library_that_hangs(void**) {
  unit::require_token();
  if (!hides()) skip();
  Pair it(HSM_FAULT_MODULE);
  create_unseen(it, "one-", 1);
  it.hsm.fault("hold");
  std::atomic<bool> served{true};
  std::thread hangs([&] { served = it.store->generate_eeks("warm", 1).ok(); });
  assert_true(eventually([&] { return it.hsm.calls() > 1; }));
  assert_kind(it.store->generate_eeks("one-0", 1), ErrorKind::unavailable, "not seen");
  hangs.join();
  assert_false(served.load());
  assert_int_equal(it.log.count("KMS0166"), 0);
  it.hsm.heal("hold");
  assert_true(eventually([&] { return it.store->generate_eeks("one-0", 1).ok(); }));
  assert_true(it.store->generate_eeks("warm", 1).ok());
  for (const char* id : {"KMS0141", "KMS0146", "KMS0161"}) assert_int_equal(it.log.count(id), 0);
}

// The token is away when it is to be looked at anew: that is a loss as any other.
void token_away(void**) {
  unit::require_token();
  if (unit::token_kind() != "softhsm") skip();
  Pair it;
  create_unseen(it, "one-", 1);
  std::filesystem::rename(it.hsm.dir.path("tokens"), it.hsm.dir.path("away"));
  assert_kind(it.store->generate_eeks("one-0", 1), ErrorKind::unavailable, "cannot serve now");
  assert_int_equal(it.log.count("KMS0148"), 1);
  assert_true(it.store->condition().state == HealthState::failing);
  std::filesystem::rename(it.hsm.dir.path("away"), it.hsm.dir.path("tokens"));
  assert_true(eventually([&] { return it.store->generate_eeks("one-0", 1).ok(); }));
  assert_int_equal(it.log.count("KMS0142"), 1);
  assert_int_equal(it.log.count("KMS0146"), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(is_found_by_a_new_login),
      cmocka_unit_test(what_is_lost_disturbs_nobody),
      cmocka_unit_test(is_destroyed_with_its_key),
      cmocka_unit_test(is_mended_after_a_crash),
      cmocka_unit_test(waits_for_a_library_that_hangs),
      cmocka_unit_test(token_away),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
