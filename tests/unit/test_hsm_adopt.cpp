// SPDX-License-Identifier: Apache-2.0
// Keys of a JCEKS file that come into a SoftHSM token: what goes on working, what is refused, and
// what is known of versions that are still outside.
#include <functional>

#include "core/clock.h"
#include "core/file_io.h"
#include "hsm_util.h"
#include "keystore/factory.h"
#include "keystore/pkcs11/uses.h"

using namespace kms;
using namespace kms::pkcs11;
using unit::aes_key;
using unit::assert_kind;
using unit::assert_text;
using unit::Hsm;
using unit::Log;
using unit::need;

namespace {

using Became = Adoption::State;
using Adoptions = std::map<std::string, Adoption>;

// A DEK, and what the old keystore made of it.
struct Sample {
  VersionPtr kek;
  WrappedDek eek;
  Secret dek;
};

// A token, and a keystore file beside it with the keys k (two versions) and m.
class Move {
 public:
  Move() {
    auto old = open_old();
    KeyOptions options = aes_key(128);
    options.description = "d";
    options.attributes = {{"key.acl.name", "x"}};
    need(old->create("k", options, nullptr));
    need(old->create("m", aes_key(256), nullptr));
    take_samples(*old, "k");
    take_samples(*old, "m");
    need(old->roll("k", nullptr));
    take_samples(*old, "k");
  }
  std::string file() const { return hsm.dir.path("old.jceks"); }
  std::string metadata_file() const { return hsm.dir.path("kms.hsm"); }
  std::unique_ptr<KeyStore> open_old() { return unit::open_or_fail(file(), log); }
  StoreOptions options(bool with_previous = true) const {
    KeyStoreOptions all;
    const StoreOptions plain = hsm.options();
    all.uri = plain.uri;
    all.hsm = plain.hsm;
    if (with_previous) all.hsm.previous_uri = "jceks://file@" + file();
    all.password = Secret(std::string_view("none"));
    return hsm_store_options(std::move(all));
  }
  std::unique_ptr<KeyStore> open() { return Hsm::open(log, options()); }
  Adoptions adopt(bool act = true, const std::vector<std::string>& names = {}) {
    auto from = need(unit::try_open(file(), log, "none", true));
    return need(adopt_keys(options(), *from, names, act, log));
  }
  State state() const { return need(parse_state(as_bytes(unit::read_file(metadata_file())))); }

  Hsm hsm{"softhsm"};
  Log log;
  std::vector<Sample> samples;

 private:
  // Lengths that are no block as well.
  void take_samples(KeyStore& old, const std::string& name) {
    const VersionPtr kek = need(old.current_version(name));
    for (const std::size_t size : {16, 32, 20, 5000}) {
      Sample sample;
      sample.kek = kek;
      sample.eek.iv = Bytes(kEekIvSize, static_cast<std::uint8_t>(samples.size()));
      sample.eek.material = Bytes(size, static_cast<std::uint8_t>(7 * samples.size()));
      sample.dek = need(old.decrypt_eek(kek, sample.eek.iv, sample.eek.material));
      samples.push_back(std::move(sample));
    }
  }
};

void assert_state(const Adoptions& keys, const std::string& name, Became state,
                  std::string_view part = {}) {
  const auto found = keys.find(name);
  assert_true(found != keys.end());
  if (found->second.state != state) print_error("%s\n", found->second.text.c_str());
  assert_int_equal(static_cast<int>(found->second.state), static_cast<int>(state));
  unit::assert_contains(found->second.text, part);
}

Result<Secret> decrypt(KeyStore& store, const Sample& sample) {
  const VersionPtr version = need(store.version(sample.kek->version_name));
  assert_non_null(version.get());
  return store.decrypt_eek(version, sample.eek.iv, sample.eek.material);
}

void old_eeks_go_on(void**) {
  unit::require_token("softhsm");
  Move move;
  assert_state(move.adopt(false), "k", Became::would_adopt);
  assert_false(unit::exists(move.metadata_file()));
  const Adoptions done = move.adopt();
  assert_int_equal(done.size(), 2);
  for (const auto& [name, key] : done) assert_true(key.state == Became::adopted);
  auto old = move.open_old();
  auto store = move.open();
  assert_true(store->condition().state == HealthState::good);
  const MetadataPtr was = need(old->metadata("k")), is = need(store->metadata("k"));
  assert_text(is->cipher, was->cipher);
  assert_int_equal(is->bit_length, was->bit_length);
  assert_true(is->description == was->description && is->attributes == was->attributes);
  assert_int_equal(is->created_ms, was->created_ms);
  assert_int_equal(is->versions, 3);
  assert_text(need(store->current_version("k"))->version_name, "k@2");
  for (const VersionPtr& each : need(store->versions("k"))) assert_true(each->material.empty());
  for (const Eek& eek : need(store->generate_eeks("k", 3)))
    assert_text(eek.wrapped_by->version_name, "k@2");
  for (Sample& sample : move.samples) {
    assert_true(need(decrypt(*store, sample)).equals(sample.dek.view()));
    const VersionPtr from = need(store->version(sample.kek->version_name));
    const VersionPtr to = need(store->current_version(sample.kek->name));
    std::vector<WrappedDek> eeks(3, sample.eek);
    need(store->reencrypt_eeks(from, to, eeks));
    for (const WrappedDek& eek : eeks) {
      assert_true(eek.material != sample.eek.material);
      assert_true(need(store->decrypt_eek(to, eek.iv, eek.material)).equals(sample.dek.view()));
    }
  }
  assert_int_equal(move.log.count("KMS0172"), 0);
  store.reset();
  const TokenReport report = need(examine(move.options(), move.log));
  std::size_t good = 0, outside = 0;
  for (const Finding& each : report.findings) {
    good += each.kind == Finding::Kind::good;
    outside += each.kind == Finding::Kind::outside;
  }
  assert_int_equal(good, 2);
  assert_int_equal(outside, 3);
}

// A life of its own, and an end: the HSM's objects go, the others are not ours.
void adopted_keys_live_on(void**) {
  unit::require_token("softhsm");
  Move move;
  move.adopt();
  auto store = move.open();
  assert_text(need(store->roll("k", nullptr))->version_name, "k@3");
  assert_true(need(decrypt(*store, move.samples[0])).equals(move.samples[0].dek.view()));
  const Secret material(std::string_view("0123456789abcdef"));
  assert_kind(store->roll("k", &material), ErrorKind::unsupported, "not taken");
  need(store->remove("k"));
  need(store->remove("m"));
  store.reset();
  assert_true(need(examine(move.options(), move.log)).findings.empty());
  assert_int_equal(need(move.open_old()->names()).size(), 2);
}

void twice_and_after_changes(void**) {
  unit::require_token("softhsm");
  Move move;
  assert_state(move.adopt(true, {"k"}), "k", Became::adopted);
  {
    auto store = Hsm::open(move.log, move.options());
    need(store->create("made", aes_key(), nullptr));
  }
  const std::string before = unit::read_file(move.metadata_file());
  Adoptions again = move.adopt(true, {"k"});
  assert_state(again, "k", Became::already_there);
  assert_true(unit::read_file(move.metadata_file()) == before);
  auto old = move.open_old();
  need(old->roll("k", nullptr));
  need(old->create("made", aes_key(), nullptr));
  KeyOptions other = aes_key(256);
  other.cipher = "HmacSHA256";
  need(old->create("hmac", other, nullptr));
  again = move.adopt(false, {"k", "m", "made", "hmac", "none"});
  assert_state(again, "k", Became::rolled_since, "k@2 of the other keystore");
  assert_state(again, "m", Became::would_adopt);
  assert_state(again, "made", Became::different, "made in the HSM");
  assert_state(again, "hmac", Became::refused, "AES keys only");
  assert_state(again, "none", Became::refused, "no such key");
  assert_true(unit::read_file(move.metadata_file()) == before);
  again = move.adopt();
  assert_state(again, "m", Became::adopted);
  const TokenReport report = need(examine(move.options(), move.log));
  std::string late;
  for (const Finding& each : report.findings)
    if (each.kind == Finding::Kind::late) late += each.label + " ";
  assert_text(late, "k@2 ");
  // A check says it, and each process that serves, once.
  assert_int_equal(move.log.count("KMS0174"), 0);
  need(open_store(move.options(), move.log, true));
  assert_int_equal(move.log.count("KMS0174"), 1);
  {
    auto store = move.open();
    for (int i = 0; i < 3; ++i) store->poll();
    assert_int_equal(move.log.count("KMS0174"), 2);
  }
  assert_state(again, "k", Became::rolled_since);
  need(old->remove("m"));
  need(old->create("m", aes_key(256), nullptr));
  assert_state(move.adopt(), "m", Became::different, "made anew");
}

// A child that does its work when it is told to: before the token is loaded here, as a library does
// not survive a fork.
class Child {
 public:
  explicit Child(const std::function<int()>& body) {
    if (::pipe(pipe_) != 0) _fail("pipe", 0);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::close(pipe_[1]);  // so that it ends with a parent that fails
    char go = 0;
    ::_exit(::read(pipe_[0], &go, 1) == 1 ? body() : 99);
  }
  int run() {
    assert_int_equal(::write(pipe_[1], "g", 1), 1);
    int status = 0;
    assert_int_equal(::waitpid(pid_, &status, 0), pid_);
    ::close(pipe_[0]);
    ::close(pipe_[1]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
  }

 private:
  int pipe_[2] = {};
  pid_t pid_ = -1;
};

int adopted_all(Move& move) {
  for (const auto& [name, key] : move.adopt())
    if (key.state != Became::adopted && key.state != Became::already_there) return 1;
  return 0;
}

// What serves finds adopted keys, and forgotten versions, at once, as any change.
void while_it_serves(void**) {
  unit::require_token("softhsm");
  Move move;
  Child adopts([&] { return adopted_all(move); });
  Child forgets([&] { return forget_versions(move.options(), {"k@0"}, 0, move.log).ok() ? 0 : 1; });
  auto store = move.open();
  need(store->create("made", aes_key(), nullptr));
  assert_null(need(store->metadata("k")).get());
  assert_int_equal(adopts.run(), 0);
  for (const Sample& sample : move.samples)
    assert_true(need(decrypt(*store, sample)).equals(sample.dek.view()));
  assert_int_equal(forgets.run(), 0);
  assert_null(need(store->version("k@0")).get());
  assert_non_null(need(store->version("k@1")).get());
}

int steps_left = 0;
void die_at_step(std::string_view) {
  if (steps_left-- == 0) ::_exit(77);
}

// Dies at each step of each write of the file, and is run again.
void killed_and_run_again(void**) {
  unit::require_token("softhsm");
  Move move;
  int deaths = 0;
  for (int step = 0;; ++step) {
    Child child([&] {
      steps_left = step;
      replace_file_step = die_at_step;
      return adopted_all(move);
    });
    const int status = child.run();
    if (status == 0) break;
    assert_int_equal(status, 77);
    ++deaths;
    // At each death a little more may be done; from the start again, so that all places are seen.
    Child again([&] { return adopted_all(move); });
    assert_int_equal(again.run(), 0);
    auto store = move.open();
    store->poll();  // mends
    for (const Sample& sample : move.samples)
      assert_true(need(decrypt(*store, sample)).equals(sample.dek.view()));
    need(store->remove("k"));
    need(store->remove("m"));
    store.reset();
    assert_true(need(examine(move.options(), move.log)).findings.empty());
  }
  assert_true(deaths >= 8);  // four writes, each with several steps
}

void without_the_previous_keystore(void**) {
  unit::require_token("softhsm");
  Move move;
  move.adopt();
  for (const bool check_only : {false, true}) {
    auto opened = open_store(move.options(false), move.log, check_only);
    assert_kind(opened, ErrorKind::configuration, "kms.hsm has 3 versions");
    unit::assert_contains(opened.error().message, "hadoop.kms.hsm.previous.uri");
  }
  // One that is sealed by a key of the token would need a second login.
  KeyStoreOptions sealed;
  sealed.hsm.previous_uri = "trustee://kms@127.0.0.1:1/kms";
  sealed.trustee.seal_hsm_key = "seal";
  assert_kind(hsm_store_options(std::move(sealed)).previous.open(move.log, true),
              ErrorKind::configuration, "no second login");
  const std::string good = unit::read_file(move.file());
  ::unlink(move.file().c_str());
  const auto serves_its_own = [&](KeyStore& store, ErrorKind kind, std::string_view part) {
    assert_int_equal(need(store.generate_eeks("k", 1)).size(), 1);
    const Eek eek = need(store.generate_eeks("m", 1)).front();
    need(store.decrypt_eek(eek.wrapped_by, eek.iv, eek.material));
    assert_kind(decrypt(store, move.samples[0]), kind, part);
    std::vector<WrappedDek> eeks(1, move.samples[0].eek);
    assert_kind(
        store.reencrypt_eeks(need(store.version("k@0")), need(store.current_version("k")), eeks),
        kind, part);
  };
  // Gone, or not a keystore any more: said by a check, and no reason not to serve.
  for (const std::string& bad : {std::string(), good.substr(0, good.size() / 2)}) {
    if (!bad.empty()) move.hsm.dir.write("old.jceks", bad);
    assert_kind(open_store(move.options(), move.log, true), ErrorKind::configuration,
                "hadoop.kms.hsm.previous.uri, which has 3 versions");
    auto store = move.open();
    assert_true(store->condition().state == HealthState::degraded);
    serves_its_own(*store, ErrorKind::unavailable, "cannot be opened");
    const std::size_t said = move.log.count("KMS0171");
    move.hsm.dir.write("old.jceks", good);
    assert_true(unit::eventually([&] {
      store->poll();
      return store->condition().state == HealthState::good;
    }));
    assert_int_equal(move.log.count("KMS0171"), said + 1);
    assert_true(need(decrypt(*store, move.samples[0])).equals(move.samples[0].dek.view()));
    // What is open stays open.
    move.hsm.dir.write("old.jceks", "rubbish");
    store->poll();
    assert_true(need(decrypt(*store, move.samples[4])).equals(move.samples[4].dek.view()));
  }
  assert_int_equal(move.log.count("KMS0170"), 2);
  // Other keys of these names, and one that is missing.
  ::unlink(move.file().c_str());
  auto other = move.open_old();
  need(other->create("k", aes_key(128), nullptr));
  need(other->create("m", aes_key(128), nullptr));
  auto store = move.open();
  serves_its_own(*store, ErrorKind::corrupt, "has another key as k@0");
  assert_kind(decrypt(*store, move.samples[4]), ErrorKind::corrupt, "of another length as m@0");
  assert_kind(decrypt(*store, move.samples[8]), ErrorKind::corrupt, "does not have k@1");
  assert_int_equal(move.log.count("KMS0172"), 3);  // once for each version
}

void uses_of_two_processes(void**) {
  unit::require_token("softhsm");
  Move move;
  assert_int_equal(Child([&] { return adopted_all(move); }).run(), 0);
  const std::int64_t began = now_ms();
  Child other([&] {
    Log log;
    auto store = Hsm::open(log, move.options());
    if (!decrypt(*store, move.samples[0]).ok()) return 1;
    if (!decrypt(*store, move.samples[4]).ok()) return 2;
    store->detach();
    return 0;
  });
  auto store = move.open();
  need(decrypt(*store, move.samples[0]));
  store->poll();
  const auto path = uses_path(move.metadata_file());
  const std::int64_t first = need(load_uses(path)).at("k@0");
  assert_true(first >= began);
  need(decrypt(*store, move.samples[0]));
  need(store->generate_eeks("m", 1));
  assert_true(unit::eventually([&] {
    store->poll();
    return need(load_uses(path)).count("m@1") == 1;
  }));
  assert_int_equal(other.run(), 0);
  const std::int64_t second = need(load_uses(path)).at("k@0");
  assert_true(second >= first);
  store->detach();  // all that is known
  const LastUses uses = need(load_uses(path));
  assert_int_equal(uses.size(), 3);
  assert_int_equal(uses.at("k@0"), second);  // an older date does not win
  assert_true(uses.at("m@0") >= began && uses.at("m@1") >= began);
  store.reset();
  const auto keys = need(key_uses(move.options()));
  assert_int_equal(keys.size(), 2);
  assert_text(keys[0].current, "k@2");
  assert_true(keys[0].adopted_ms > 0);
  assert_int_equal(keys[0].versions.size(), 3);
  assert_true(keys[0].versions[0].outside && keys[0].versions[0].last_use_ms == second);
  assert_true(keys[0].versions[1].outside && keys[0].versions[1].last_use_ms == 0);
  assert_false(keys[0].versions[2].outside);
}

// A request never fails for it.
void uses_that_cannot_be_written(void**) {
  unit::require_token("softhsm");
  Move move;
  move.adopt();
  const auto path = uses_path(move.metadata_file());
  ::mkdir(path.c_str(), 0700);
  auto store = move.open();
  need(decrypt(*store, move.samples[0]));
  store->poll();
  assert_int_equal(move.log.count("KMS0173"), 1);
  store->detach();
  assert_int_equal(move.log.count("KMS0173"), 1);
  store.reset();
  ::rmdir(path.c_str());
  move.hsm.dir.write("kms.hsm.uses", "{");
  assert_kind(key_uses(move.options()), ErrorKind::corrupt, "last use");
  assert_kind(forget_versions(move.options(), {"k@0"}, 0, move.log), ErrorKind::corrupt);
  store = move.open();
  need(decrypt(*store, move.samples[0]));
  store->detach();
  assert_int_equal(need(load_uses(path)).size(), 1);
}

void forgetting(void**) {
  unit::require_token("softhsm");
  Move move;
  move.adopt();
  const auto forget = [&](const std::vector<std::string>& versions, std::int64_t days) {
    return forget_versions(move.options(), versions, days, move.log);
  };
  assert_kind(forget({"k@0"}, 7), ErrorKind::invalid_argument, "k@0 was adopted within the last 7");
  assert_kind(forget({"k@2"}, 0), ErrorKind::invalid_argument, "is in the HSM");
  for (const char* none : {"k@9", "k", "other@0"})
    assert_kind(forget({none}, 0), ErrorKind::invalid_argument, "is no key version");
  // All or nothing.
  assert_kind(forget({"k@0", "k@2"}, 0), ErrorKind::invalid_argument);
  assert_int_equal(move.state().outside(), 3);
  const std::int64_t days_ago = now_ms() - 10 * 24 * 3'600'000LL;
  move.hsm.dir.write(
      "kms.hsm.uses",
      "{\"format\": 1, \"uses\": [{\"version\": \"k@0\", \"ms\": " + std::to_string(days_ago) +
          "}, {\"version\": \"m@0\", \"ms\": " + std::to_string(now_ms()) + "}]}");
  assert_kind(forget({"m@0"}, 7), ErrorKind::invalid_argument, "m@0 was used within the last 7");
  assert_kind(forget({"k@0"}, 11), ErrorKind::invalid_argument);
  need(forget({"k@0"}, 7));
  need(forget({"k@1", "m@0"}, 0));
  assert_int_equal(move.state().outside(), 0);
  // Nothing is outside, so the other keystore may be gone; adopted is adopted.
  assert_state(move.adopt(), "k", Became::already_there);
  ::unlink(move.file().c_str());
  assert_true(open_store(move.options(false), move.log, true).ok());
  auto store = move.open();
  assert_true(store->condition().state == HealthState::good);
  assert_null(need(store->version("k@0")).get());
  assert_text(need(store->current_version("k"))->version_name, "k@2");
}

// Metadata in a database: its old versions stay there.
void without_a_file(void**) {
  StoreOptions options;
  options.uri = "hsm://generic";
  Log log;
  assert_true(need(key_uses(options)).empty());
  assert_kind(forget_versions(options, {"k@0"}, 0, log), ErrorKind::configuration, "has no file");
}

// A file that says that the HSM's newest version is outside would make EEKs with it.
void files_that_lie(void**) {
  unit::require_token("softhsm");
  Move move;
  move.adopt();
  const std::string good = unit::read_file(move.metadata_file());
  unit::assert_contains(good, "\"format\": 2");
  const auto with = [&](const std::string& what, const std::string& instead) {
    std::string text = good;
    const auto at = text.find(what);
    assert_true(at != std::string::npos);
    return text.replace(at, what.size(), instead);
  };
  for (const std::string& bad :
       {with("\"adopted\": 2", "\"adopted\": 1"), with("\"adopted\": 2", "\"adopted\": 3"),
        with("\"adopted\": 2,", ""), with("\"outside\": true", "\"a\": 1")})
    assert_kind(parse_state(as_bytes(bad)), ErrorKind::corrupt);
  assert_text(need(encode_state(need(parse_state(as_bytes(good))))), good);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(old_eeks_go_on),
      cmocka_unit_test(adopted_keys_live_on),
      cmocka_unit_test(twice_and_after_changes),
      cmocka_unit_test(while_it_serves),
      cmocka_unit_test(killed_and_run_again),
      cmocka_unit_test(without_the_previous_keystore),
      cmocka_unit_test(uses_of_two_processes),
      cmocka_unit_test(uses_that_cannot_be_written),
      cmocka_unit_test(forgetting),
      cmocka_unit_test(without_a_file),
      cmocka_unit_test(files_that_lie),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
