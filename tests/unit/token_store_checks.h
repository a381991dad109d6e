// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "auth/tokens/token_store.h"
#include "unit.h"

// What every TokenStore does, whatever it is made of. A test program gives a function that makes a
// store nobody has used yet, and runs check_token_store with it.
namespace unit {

// Opens and attaches one more view of the same store, as another process has it.
using OpenTokenStore = std::function<std::unique_ptr<kms::TokenStore>()>;
using NewTokenStore = std::function<OpenTokenStore()>;

template <class T>
T got(kms::Result<T>&& result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
  return std::move(*result);
}
inline void done(kms::Result<void>&& result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
}

inline kms::TokenRecord token_of(std::int32_t sequence, std::string owner = "alice",
                                 std::int64_t renew_ms = 2000) {
  kms::TokenRecord token;
  token.identifier.owner = std::move(owner);
  token.identifier.renewer = "yarn";
  token.identifier.issue_ms = 1000;
  token.identifier.max_ms = 9000;
  token.identifier.sequence = sequence;
  token.identifier.master_key_id = 1;
  token.renew_ms = renew_ms;
  token.password = kms::Secret("password " + std::to_string(sequence));
  return token;
}

inline bool has(kms::TokenStore& store, const kms::TokenIdentifier& identifier) {
  return got(store.find(identifier)) != nullptr;
}

namespace token_store {

inline void is_empty_at_first(const OpenTokenStore& open) {
  const auto store = open();
  const auto id = token_of(1).identifier;
  assert_false(has(*store, id));
  assert_true(got(store->key(1)) == nullptr);
  assert_false(got(store->renew(id, 1)));
  assert_false(got(store->remove(id)));
  assert_int_equal(got(store->purge(1000000)), 0);
}

// Each change is seen by the next call of any other.
inline void changes_are_seen_at_once(const OpenTokenStore& open) {
  const auto a = open(), b = open();
  const auto id = token_of(7).identifier;
  assert_false(has(*b, id));
  done(a->add(token_of(7)));
  const kms::TokenPtr found = got(b->find(id));
  assert_non_null(found.get());
  assert_true(found->identifier == id);
  assert_int_equal(found->renew_ms, 2000);
  assert_true(found->password.equals(token_of(7).password.view()));
  assert_true(got(b->renew(id, 3000)));
  assert_int_equal(got(a->find(id))->renew_ms, 3000);
  assert_true(got(a->find(id))->password.equals(token_of(7).password.view()));
  assert_int_equal(found->renew_ms, 2000);  // who has it keeps it
  assert_true(got(a->remove(id)));
  assert_false(has(*b, id));
  assert_false(got(b->remove(id)));
  assert_false(got(b->renew(id, 4000)));
  assert_false(has(*a, id));
}

// A token is found by all fields of its identifier.
inline void nothing_else_is_found(const OpenTokenStore& open) {
  const auto store = open();
  const auto id = token_of(5).identifier;
  done(store->add(token_of(5)));
  std::vector<kms::TokenIdentifier> others(7, id);
  others[0].owner = "bob";
  others[1].renewer = "";
  others[2].real_user = "alice";
  others[3].issue_ms++;
  others[4].max_ms--;
  others[5].sequence++;
  others[6].master_key_id++;
  for (const auto& other : others) {
    assert_false(has(*store, other));
    assert_false(got(store->renew(other, 5000)));
    assert_false(got(store->remove(other)));
  }
  assert_int_equal(got(store->find(id))->renew_ms, 2000);
}

inline void odd_names_are_kept(const OpenTokenStore& open) {
  const auto a = open();
  for (const std::string& name :
       {std::string("j\xc3\xbcrg/h\xc3\xb6st@R"), std::string("a\0\n\xff", 4),
        std::string(5000, 'x'), std::string("/../DT_1")}) {
    const std::int32_t sequence = got(a->next_sequence());
    done(a->add(token_of(sequence, name)));
    const auto found = got(open()->find(token_of(sequence, name).identifier));
    assert_non_null(found.get());
    assert_true(found->identifier.owner == name);
  }
}

inline void keys_roll(const OpenTokenStore& open) {
  const auto a = open(), b = open();
  const kms::KeyPolicy policy{1000, 5000};
  const std::int64_t start = 1700000000000;
  const kms::MasterKeyPtr first = got(a->current_key(start, policy));
  assert_int_equal(first->expires_ms, start + 6000);
  assert_int_equal(first->secret.size(), 32);
  // The last moment in which a token made with it can be renewed for the whole of its life.
  const kms::MasterKeyPtr again = got(b->current_key(start + 1000, policy));
  assert_int_equal(again->id, first->id);
  assert_true(again->secret.equals(first->secret.view()));
  const kms::MasterKeyPtr second = got(b->current_key(start + 1001, policy));
  assert_int_not_equal(second->id, first->id);
  assert_false(second->secret.equals(first->secret.view()));
  assert_int_equal(second->expires_ms, start + 1001 + 6000);
  assert_int_equal(got(a->current_key(start + 1001, policy))->id, second->id);
  // The old one is there for the renewals as long as a token of it may live.
  assert_true(got(a->key(first->id))->secret.equals(first->secret.view()));
  assert_true(got(open()->key(second->id))->secret.equals(second->secret.view()));
  const auto third = got(a->current_key(start + 6001, policy));
  assert_int_not_equal(third->id, second->id);
  assert_true(got(a->key(first->id)) == nullptr);
  assert_true(got(open()->key(first->id)) == nullptr);
  assert_true(got(a->key(second->id)) != nullptr);
  assert_true(got(a->key(-17)) == nullptr);
}

// A longer life of tokens wants another key at once.
inline void key_must_outlive_tokens(const OpenTokenStore& open) {
  const auto store = open();
  const std::int64_t start = 1700000000000;
  const auto brief = got(store->current_key(start, {1000, 5000}));
  const auto lasting = got(store->current_key(start, {1000, 50000}));
  assert_int_not_equal(brief->id, lasting->id);
  assert_int_equal(lasting->expires_ms, start + 51000);
}

inline void numbers_are_unique(const OpenTokenStore& open) {
  constexpr int kThreads = 4, kEach = 60;
  const auto a = open(), b = open();
  std::vector<std::vector<std::int32_t>> numbers(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const auto number = (t % 2 == 0 ? a : b)->next_sequence();
        if (number.ok()) numbers[static_cast<std::size_t>(t)].push_back(*number);
      }
    });
  for (auto& thread : threads) thread.join();
  std::set<std::int32_t> all;
  for (const auto& some : numbers) all.insert(some.begin(), some.end());
  assert_int_equal(all.size(), kThreads * kEach);
}

inline void purge_takes_what_is_over(const OpenTokenStore& open) {
  const auto a = open(), b = open();
  for (std::int32_t i = 1; i <= 20; ++i) done(a->add(token_of(i, "u", 1000 + i)));
  assert_true(got(a->renew(token_of(3, "u").identifier, 9000)));
  assert_int_equal(got(b->purge(1011)), 9);  // 1 to 10 without the one that was renewed
  for (std::int32_t i = 1; i <= 20; ++i)
    assert_int_equal(has(*a, token_of(i, "u").identifier), i > 10 || i == 3);
  assert_int_equal(got(a->purge(1011)), 0);
  assert_int_equal(got(open()->purge(10000)), 11);
}

inline void all_is_there_the_next_time(const OpenTokenStore& open) {
  std::int32_t key = 0, sequence = 0;
  const kms::KeyPolicy policy{1000, 5000};
  {
    const auto store = open();
    key = got(store->current_key(1700000000000, policy))->id;
    for (int i = 0; i < 10; ++i) {
      sequence = got(store->next_sequence());
      done(store->add(token_of(sequence)));
    }
    assert_true(got(store->renew(token_of(sequence).identifier, 8000)));
    assert_true(got(store->remove(token_of(sequence - 1).identifier)));
  }
  const auto store = open();
  assert_int_equal(got(store->current_key(1700000000000, policy))->id, key);
  assert_int_equal(got(store->find(token_of(sequence).identifier))->renew_ms, 8000);
  assert_false(has(*store, token_of(sequence - 1).identifier));
  assert_true(has(*store, token_of(sequence - 2).identifier));
  const std::int32_t next = got(store->next_sequence());
  assert_false(has(*store, token_of(next).identifier));
  done(store->add(token_of(next)));
  assert_true(has(*store, token_of(next).identifier));
}

// Threads that look for tokens while others come and go: nothing is found that was removed, and
// nothing missed that was there all the time.
inline void looked_up_while_changing(const OpenTokenStore& open) {
  const auto a = open(), b = open();
  for (std::int32_t i = 1000; i < 1010; ++i) done(a->add(token_of(i)));
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      kms::TokenStore& mine = t == 0 ? *a : *b;
      for (std::int32_t i = 0; !stop; ++i) {
        const auto stays = mine.find(token_of(1000 + i % 10).identifier);
        const auto never = mine.find(token_of(5000).identifier);
        wrong += !stays.ok() || *stays == nullptr || !never.ok() || *never != nullptr;
      }
    });
  for (std::int32_t i = 1; i <= 40; ++i) {
    kms::TokenStore& adds = i % 2 == 0 ? *a : *b;
    kms::TokenStore& removes = i % 2 == 0 ? *b : *a;
    done(adds.add(token_of(i)));
    wrong += !has(removes, token_of(i).identifier);
    wrong += !got(removes.remove(token_of(i).identifier));
    wrong += has(adds, token_of(i).identifier);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  assert_int_equal(wrong.load(), 0);
}

}  // namespace token_store

inline void check_token_store(const NewTokenStore& make) {
  for (const auto& check :
       {token_store::is_empty_at_first, token_store::changes_are_seen_at_once,
        token_store::nothing_else_is_found, token_store::odd_names_are_kept, token_store::keys_roll,
        token_store::key_must_outlive_tokens, token_store::numbers_are_unique,
        token_store::purge_takes_what_is_over, token_store::all_is_there_the_next_time,
        token_store::looked_up_while_changing})
    check(make());
}

}  // namespace unit
