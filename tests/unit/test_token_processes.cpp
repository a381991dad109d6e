// SPDX-License-Identifier: Apache-2.0
// Several processes on one token journal: nothing is lost, nothing comes back, and each may be
// killed anywhere.
#include <cstring>
#include <map>
#include <random>

#include "core/file_io.h"
#include "file_token_store_util.h"

using namespace kms;
using unit::done;
using unit::got;
using unit::has;
using unit::Journal;
using unit::spawn;
using unit::token_of;
using unit::wait_for;

namespace {

// What a child has done, and was told that it is done.
struct Event {
  enum Kind : std::int32_t { added, renewed, removed, number, key } kind;
  std::int32_t sequence;
  std::int64_t renew_ms;
};

class Events {
 public:
  Events() {
    if (::pipe2(fds_, O_CLOEXEC) != 0) _fail("pipe2", 0);
    ::fcntl(fds_[1], F_SETPIPE_SZ, 1 << 20);
  }
  ~Events() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  void say(Event event) {
    if (::write(fds_[1], &event, sizeof event) != sizeof event) ::_exit(99);
  }
  // Waits for one.
  Event hear() {
    Event event{};
    if (::read(fds_[0], &event, sizeof event) != sizeof event) _fail("pipe", 0);
    return event;
  }
  std::vector<Event> heard() {
    std::vector<Event> out;
    ::fcntl(fds_[0], F_SETFL, O_NONBLOCK);
    for (Event event{}; ::read(fds_[0], &event, sizeof event) == sizeof event;)
      out.push_back(event);
    ::fcntl(fds_[0], F_SETFL, 0);
    return out;
  }

 private:
  int fds_[2];
};

// A child's life: tokens come, are renewed and go; the file is shortened now and then. What is
// about to be done is said before, so that what a kill has cut off can be told from what was not.
int live(TokenStore& store, Events& intents, Events& events, unsigned seed, int steps) {
  if (!store.attach().ok()) return 1;
  std::mt19937 random(seed);
  std::vector<std::int32_t> mine;
  for (int i = 0; i < steps; ++i) {
    const unsigned what = random() % 10;
    if (what < 5 || mine.empty()) {
      const auto number = store.next_sequence();
      if (!number.ok()) return 2;
      intents.say({Event::added, *number, 2000});
      if (!store.add(token_of(*number)).ok()) return 3;
      events.say({Event::added, *number, 2000});
      mine.push_back(*number);
      continue;
    }
    const std::size_t which = random() % mine.size();
    const std::int32_t number = mine[which];
    if (what < 8) {
      const std::int64_t until = 2001 + i;
      intents.say({Event::renewed, number, until});
      const auto renewed = store.renew(token_of(number).identifier, until);
      if (!renewed.ok() || !*renewed) return 4;
      events.say({Event::renewed, number, until});
    } else {
      intents.say({Event::removed, number, 0});
      const auto removed = store.remove(token_of(number).identifier);
      if (!removed.ok() || !*removed) return 5;
      events.say({Event::removed, number, 0});
      mine.erase(mine.begin() + static_cast<std::ptrdiff_t>(which));
    }
    if (what == 9) store.poll();
  }
  return 0;
}

// The renew date of each token that must be there, 0 for those that must not.
using Expected = std::map<std::int32_t, std::int64_t>;

void expect(Expected& all, const std::vector<Event>& events) {
  for (const Event& event : events)
    all[event.sequence] = event.kind == Event::removed ? 0 : event.renew_ms;
}

std::int64_t renew_ms_of(TokenStore& store, std::int32_t number) {
  const auto token = got(store.find(token_of(number).identifier));
  return token == nullptr ? 0 : token->renew_ms;
}

void writers_lose_nothing(void**) {
  Journal journal;
  journal.compact_bytes = 2000;
  const auto parent = journal.open();
  constexpr int kChildren = 4;
  std::vector<std::unique_ptr<Events>> intents, events;
  std::vector<pid_t> children;
  for (unsigned i = 0; i < kChildren; ++i) {
    intents.push_back(std::make_unique<Events>());
    events.push_back(std::make_unique<Events>());
    children.push_back(spawn([&] { return live(*parent, *intents[i], *events[i], 40 + i, 150); }));
  }
  for (const pid_t child : children) assert_int_equal(wait_for(child), 0);
  Expected all;
  std::size_t added = 0;
  for (const auto& each : events) {
    const auto heard = each->heard();
    for (const Event& event : heard) added += event.kind == Event::added;
    expect(all, heard);
  }
  assert_int_equal(all.size(), added);  // no number was given out twice
  done(parent->attach());
  const auto fresh = journal.attached();
  for (const auto& [number, renew_ms] : all) {
    assert_int_equal(renew_ms_of(*parent, number), renew_ms);
    assert_int_equal(renew_ms_of(*fresh, number), renew_ms);
  }
  for (const char* trouble : {"KMS0321", "KMS0322", "KMS0323", "KMS0324"})
    assert_int_equal(journal.log.count(trouble), 0);
}

// Killed without warning, at any time, over and over: what was acknowledged is there, what was
// about to be done is done or not, and the others do not notice.
void killed_writers(void**) {
  Journal journal;
  journal.compact_bytes = 2000;
  std::mt19937 random(4711);
  Expected all;
  const auto watcher = journal.attached();
  for (unsigned round = 0; round < 25; ++round) {
    Events intents, events, survivor_intents, survivor_events;
    const auto store = journal.open();
    const pid_t victim = spawn([&] { return live(*store, intents, events, round, 100000); });
    const pid_t other =
        spawn([&] { return live(*store, survivor_intents, survivor_events, 1000 + round, 20); });
    intents.hear();
    ::usleep(static_cast<useconds_t>(random() % 30000));
    ::kill(victim, SIGKILL);
    assert_int_equal(wait_for(victim), 128 + SIGKILL);
    assert_int_equal(wait_for(other), 0);
    expect(all, survivor_events.heard());
    const auto did = events.heard();
    expect(all, did);
    const auto wanted = intents.heard();
    const auto fresh = journal.attached();  // now it is decided what becomes of the last change
    // The first intent was heard before the others.
    if (wanted.size() + 1 > did.size() && !wanted.empty()) {
      const Event last = wanted.back();
      const std::int64_t now = renew_ms_of(*watcher, last.sequence);
      const std::int64_t then = last.kind == Event::removed ? 0 : last.renew_ms;
      const auto before = all.find(last.sequence);
      assert_true(now == then || now == (before == all.end() ? 0 : before->second));
      all[last.sequence] = now;
    }
    for (const auto& [number, renew_ms] : all) {
      assert_int_equal(renew_ms_of(*watcher, number), renew_ms);
      assert_int_equal(renew_ms_of(*fresh, number), renew_ms);
    }
  }
  assert_true(all.size() > 100);
  for (const char* trouble : {"KMS0322", "KMS0323", "KMS0324"})
    assert_int_equal(journal.log.count(trouble), 0);
}

const char* g_die_at = "";
void die_there(std::string_view step) {
  if (step == g_die_at) ::_exit(42);
}

// At each step of writing the file anew.
void dies_while_shortening(void**) {
  for (const char* step :
       {"created", "written", "synced", "prepared", "renamed", "directory-synced"}) {
    Journal journal;
    const auto near = journal.attached(), far = journal.attached();
    for (std::int32_t i = 1; i <= 20; ++i) {
      done(near->add(token_of(i)));
      for (int k = 0; k < 5; ++k) got(near->renew(token_of(i).identifier, 3000 + k));
    }
    journal.compact_bytes = 0;
    const auto to_die = journal.open();
    for (int k = 0; k < 200; ++k) got(near->renew(token_of(1).identifier, 4000 + k));
    const pid_t child = spawn([&] {
      g_die_at = step;
      replace_file_step = die_there;
      if (to_die->attach().ok()) to_die->poll();
      return 1;
    });
    assert_int_equal(wait_for(child), 42);
    // One goes on by itself, one has yet to see all this, one comes anew; with and without a write.
    assert_int_equal(renew_ms_of(*near, 1), 4199);
    assert_int_equal(renew_ms_of(*far, 1), 4199);
    done(near->add(token_of(21)));
    assert_true(has(*far, token_of(21).identifier));
    done(far->add(token_of(22)));
    const auto fresh = journal.attached();
    for (TokenStore* store : {near.get(), far.get(), fresh.get()})
      for (std::int32_t i = 1; i <= 22; ++i)
        assert_int_equal(renew_ms_of(*store, i), i == 1 ? 4199 : i > 20 ? 2000 : 3004);
    for (const char* trouble : {"KMS0321", "KMS0322", "KMS0323", "KMS0324"})
      assert_int_equal(journal.log.count(trouble), 0);
  }
}

// A child of the next generation, after a graceful restart, while one of the last still serves.
void generations_overlap(void**) {
  Journal journal;
  const KeyPolicy policy{1000, 5000};
  const auto old_parent = journal.open();
  Events to_old, from_old;
  const pid_t old_child = spawn([&] {
    if (!old_parent->attach().ok()) return 1;
    for (std::int32_t i = 0; i < 20; ++i) {
      const Event event = to_old.hear();
      if (renew_ms_of(*old_parent, event.sequence) != 2000) return 2;
      const auto number = old_parent->next_sequence();
      const auto key = old_parent->current_key(1000, policy);
      if (!number.ok() || !key.ok() || (*key)->id != event.renew_ms) return 3;
      if (!old_parent->add(token_of(*number)).ok()) return 4;
      from_old.say({Event::number, *number, (*key)->id});
    }
    return 0;
  });
  const auto next = journal.attached();
  std::set<std::int32_t> numbers;
  for (int i = 0; i < 20; ++i) {
    const std::int32_t number = got(next->next_sequence());
    done(next->add(token_of(number)));
    assert_true(numbers.insert(number).second);
    to_old.say({Event::number, number, got(next->current_key(1000, policy))->id});
    const Event event = from_old.hear();
    assert_true(numbers.insert(event.sequence).second);
    assert_int_equal(renew_ms_of(*next, event.sequence), 2000);
  }
  assert_int_equal(wait_for(old_child), 0);
}

// Children that start together agree on one key.
void one_key_for_all(void**) {
  Journal journal;
  const auto parent = journal.open();
  Events events;
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i)
    children.push_back(spawn([&] {
      if (!parent->attach().ok()) return 1;
      const auto key = parent->current_key(1000, {1000, 5000});
      if (!key.ok()) return 2;
      std::int64_t secret = 0;
      std::memcpy(&secret, (*key)->secret.view().data(), sizeof secret);
      events.say({Event::key, (*key)->id, secret});
      return 0;
    }));
  for (const pid_t child : children) assert_int_equal(wait_for(child), 0);
  const auto keys = events.heard();
  assert_int_equal(keys.size(), 4);
  for (const Event& key : keys) {
    assert_int_equal(key.sequence, 1);
    assert_int_equal(key.renew_ms, keys[0].renew_ms);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(writers_lose_nothing),  cmocka_unit_test(killed_writers),
      cmocka_unit_test(dies_while_shortening), cmocka_unit_test(generations_overlap),
      cmocka_unit_test(one_key_for_all),
  };
  return cmocka_run_group_tests_name("token processes", tests, nullptr, nullptr);
}
