// SPDX-License-Identifier: Apache-2.0
// Token journals that are cut, changed, replaced or gone: the server starts, what can be read is
// used, and what cannot is kept.
#include <algorithm>
#include <filesystem>

#include "auth/tokens/journal.h"
#include "core/file_io.h"
#include "file_token_store_util.h"

using namespace kms;
using unit::assert_contains;
using unit::done;
using unit::got;
using unit::has;
using unit::Journal;
using unit::token_of;

namespace {

constexpr std::int32_t kTokens = 5;
constexpr KeyPolicy kPolicy{1000, 5000};

// A journal of a key and some tokens, as text.
std::string good_journal() {
  Journal journal;
  const auto store = journal.attached();
  got(store->current_key(1000, kPolicy));
  for (std::int32_t i = 1; i <= kTokens; ++i) done(store->add(token_of(i)));
  return unit::read_file(journal.path);
}

int count_tokens(TokenStore& store) {
  int count = 0;
  for (std::int32_t i = 1; i <= kTokens; ++i) count += has(store, token_of(i).identifier);
  return count;
}

// The offsets at which a record begins or the file ends.
std::vector<std::size_t> record_starts(const std::string& text) {
  std::vector<std::size_t> out;
  std::size_t at = tokens::kHeaderSize;
  for (; at < text.size();) {
    out.push_back(at);
    const auto frame = tokens::parse_record(as_bytes(text).subspan(at));
    assert_true(frame.state == tokens::FrameState::whole);
    at += frame.size;
  }
  out.push_back(at);
  return out;
}

// Goes on to be used: a new token is there the next time, with all that was there before.
void assert_usable(Journal& journal, TokenStore& store, int tokens) {
  assert_int_equal(count_tokens(store), tokens);
  done(store.add(token_of(100)));
  const auto again = journal.attached();
  assert_int_equal(count_tokens(*again), tokens);
  assert_true(has(*again, token_of(100).identifier));
}

void cut_anywhere(void**) {
  const std::string good = good_journal();
  const auto starts = record_starts(good);
  for (std::size_t length = 0; length < good.size(); ++length) {
    Journal journal;
    journal.dir.write("tokens", good.substr(0, length));
    std::filesystem::permissions(journal.path, std::filesystem::perms(0600));
    const auto store = journal.attached();
    const auto whole = static_cast<int>(
        std::ranges::count_if(starts, [&](std::size_t start) { return start <= length; }));
    // Number, key (and the dropping of older ones), then the tokens.
    const int records_before = static_cast<int>(starts.size()) - 1 - kTokens;
    assert_usable(journal, *store, std::max(0, whole - 1 - records_before));
    const bool at_record = std::ranges::find(starts, length) != starts.end();
    const bool in_header = length < tokens::kHeaderSize;
    assert_int_equal(journal.log.count("KMS0321"), !at_record && !in_header);
    assert_int_equal(journal.log.count("KMS0322"), in_header && length > 0);
    assert_int_equal(journal.exists(".damaged"), in_header && length > 0);
    assert_int_equal(journal.log.count("KMS0326"), 0);
  }
}

// One bit, anywhere: at most one record is not there, and the file as it was is kept.
void flipped_bits(void**) {
  const std::string good = good_journal();
  const auto starts = record_starts(good);
  for (std::size_t at = 0; at < good.size(); ++at) {
    Journal journal;
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << at % 8));
    journal.dir.write("tokens", bad);
    const auto store = journal.attached();
    const bool in_token = at >= starts[starts.size() - 1 - kTokens];
    assert_usable(journal, *store, kTokens - in_token);
    // In the last record, it may look like one that was cut off.
    if (at >= starts[starts.size() - 2] && journal.log.count("KMS0321") == 1) continue;
    assert_int_equal(journal.log.count("KMS0322"), 1);
    assert_true(unit::read_file(journal.path + ".damaged") == bad);
    assert_contains(journal.log.all(), journal.path + ".damaged");
  }
}

void zeros_and_garbage_at_the_end(void**) {
  const std::string good = good_journal();
  for (const std::string& tail :
       {std::string(1, '\0'), std::string(5000, '\0'), std::string("KTRC"),
        std::string("KTRC\0\0\0\x30 and so on", 18)}) {
    Journal journal;
    journal.dir.write("tokens", good + tail);
    const auto store = journal.attached();
    assert_int_equal(journal.log.count("KMS0321"), 1);
    assert_int_equal(std::filesystem::file_size(journal.path), good.size());
    assert_usable(journal, *store, kTokens);
  }
  for (const std::string& tail :
       {std::string("x"), std::string("KTRC\0\0\0\0", 8), "KTRC\xff" + std::string(100, 'y')}) {
    Journal journal;
    journal.dir.write("tokens", good + tail);
    const auto store = journal.attached();
    assert_int_equal(journal.log.count("KMS0322"), 1);
    assert_usable(journal, *store, kTokens);
  }
}

// Whole records of a newer version, or of nonsense, are damage as well.
void records_that_say_nothing(void**) {
  const std::string good = good_journal();
  Journal journal;
  // A token whose identifier has a byte too many.
  TokenRecord token = token_of(50);
  const Secret record = tokens::encode_record(tokens::TokenAdded{std::move(token)});
  std::string odd(as_text(record.view()));
  assert_true(tokens::parse_record(as_bytes(odd)).state == tokens::FrameState::whole);
  odd[8] = 77;
  journal.dir.write("tokens", good + odd);
  const auto store = journal.attached();
  assert_usable(journal, *store, kTokens);
}

// Other names for damaged files are found, up to a limit.
void many_damaged_files(void**) {
  const std::string good = good_journal();
  std::string bad = good;
  bad[tokens::kHeaderSize + 40] ^= 1;
  Journal journal;
  for (int i = 0; i < 12; ++i) {
    journal.dir.write("tokens", bad);
    const auto store = journal.attached();
    assert_int_equal(count_tokens(*store), kTokens);
  }
  assert_true(journal.exists(".damaged"));
  assert_true(journal.exists(".damaged.9"));
  assert_false(journal.exists(".damaged.10"));
  assert_int_equal(journal.log.count("KMS0322"), 12);
}

// --- while it is in use

void gone_while_in_use(void**) {
  Journal journal;
  const auto a = journal.attached(), b = journal.attached();
  for (std::int32_t i = 1; i <= kTokens; ++i) done(a->add(token_of(i)));
  // b has not looked yet; its open file tells.
  std::filesystem::remove(journal.path);
  for (int i = 0; i < 2; ++i) b->poll();
  assert_int_equal(journal.log.count("KMS0316"), 1);
  assert_true(journal.exists(""));
  assert_int_equal(count_tokens(*a), kTokens);
  assert_usable(journal, *b, kTokens);
  // And found by a writer.
  std::filesystem::remove(journal.path);
  done(a->add(token_of(101)));
  assert_int_equal(journal.log.count("KMS0316"), 2);
  assert_true(has(*b, token_of(101).identifier));
  assert_int_equal(count_tokens(*journal.attached()), kTokens);
}

void shortened_while_in_use(void**) {
  for (const std::uintmax_t length : {std::uintmax_t{0}, std::uintmax_t{30}, std::uintmax_t{200}}) {
    Journal journal;
    const auto a = journal.attached(), b = journal.attached();
    for (std::int32_t i = 1; i <= kTokens; ++i) done(a->add(token_of(i)));
    std::filesystem::resize_file(journal.path, length);
    assert_int_equal(count_tokens(*a), kTokens);
    for (int i = 0; i < 2; ++i) a->poll();
    assert_int_equal(journal.log.count("KMS0315"), 1);
    assert_int_equal(count_tokens(*b), kTokens);
    assert_usable(journal, *b, kTokens);
  }
}

// Before the others could look: what is lost is said, and there are no wrong answers.
void shortened_before_one_looked(void**) {
  Journal journal;
  const auto b = journal.attached();
  {
    const auto a = journal.attached();
    for (std::int32_t i = 1; i <= kTokens; ++i) done(a->add(token_of(i)));
  }
  std::filesystem::resize_file(journal.path, 300);
  const auto found = b->find(token_of(1).identifier);
  assert_false(found.ok());
  assert_true(found.error().kind == ErrorKind::unavailable);
  b->poll();
  assert_int_equal(journal.log.count("KMS0323"), 1);
  assert_contains(journal.log.all(), "bytes are lost");
  const int left = count_tokens(*b);
  assert_in_range(left, 1, kTokens - 1);
  assert_usable(journal, *b, left);
}

void damaged_while_in_use(void**) {
  Journal journal;
  const auto a = journal.attached(), b = journal.attached();
  for (std::int32_t i = 1; i <= kTokens; ++i) done(a->add(token_of(i)));
  std::string text = unit::read_file(journal.path);
  const auto starts = record_starts(text);
  text[starts[2] + 20] ^= 1;  // the second token
  {
    const Fd fd(::open(journal.path.c_str(), O_WRONLY));
    assert_int_equal(::pwrite(fd.get(), text.data(), text.size(), 0), text.size());
  }
  // a has it all in memory; b cannot read it, and does not guess.
  assert_int_equal(count_tokens(*a), kTokens);
  const auto found = b->find(token_of(5).identifier);
  assert_false(found.ok());
  assert_contains(found.error().message, "is damaged or missing");
  b->poll();
  assert_int_equal(journal.log.count("KMS0322"), 1);
  assert_int_equal(count_tokens(*b), kTokens - 1);
  assert_int_equal(count_tokens(*a), kTokens - 1);
  assert_usable(journal, *a, kTokens - 1);
}

void replaced_while_in_use(void**) {
  const std::string other = good_journal();
  Journal journal;
  const auto a = journal.attached(), b = journal.attached();
  done(a->add(token_of(7)));
  assert_true(has(*b, token_of(7).identifier));
  // By another journal: what was answered for goes on, the other one is kept.
  journal.dir.write("other", other);
  std::filesystem::rename(journal.dir.path("other"), journal.path);
  done(a->add(token_of(8)));
  assert_int_equal(journal.log.count("KMS0317"), 1);
  assert_true(unit::read_file(journal.path + ".damaged") == other);
  const auto fresh = journal.attached();
  for (TokenStore* store : {a.get(), b.get(), fresh.get()}) {
    assert_true(has(*store, token_of(7).identifier));
    assert_true(has(*store, token_of(8).identifier));
    assert_false(has(*store, token_of(1).identifier));
  }
  // By something else, which is nothing to write over.
  journal.dir.write("something", "else");
  std::filesystem::rename(journal.dir.path("something"), journal.path);
  const auto added = b->add(token_of(9));
  assert_false(added.ok());
  assert_contains(added.error().message, "another file in the place of the token journal");
  assert_true(has(*b, token_of(8).identifier));
  assert_true(unit::read_file(journal.path) == "else");
  std::filesystem::remove(journal.path);
  done(b->add(token_of(9)));
  assert_true(has(*a, token_of(9).identifier));
}

// From a backup, while nobody served; the lock file knows of another state.
void restored_from_a_backup(void**) {
  Journal journal;
  std::string backup;
  {
    const auto store = journal.attached();
    done(store->add(token_of(1)));
    backup = unit::read_file(journal.path);
    done(store->add(token_of(2)));
  }
  journal.dir.write("tokens", backup);
  const auto store = journal.attached();
  assert_true(has(*store, token_of(1).identifier));
  assert_false(has(*store, token_of(2).identifier));
  done(store->add(token_of(3)));
  // And moved to another machine, without the lock file.
  std::filesystem::remove(journal.lock_path());
  const auto there = journal.attached();
  assert_true(has(*there, token_of(1).identifier));
  assert_true(has(*there, token_of(3).identifier));
  assert_true(got(there->next_sequence()) > 3);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(cut_anywhere),
      cmocka_unit_test(flipped_bits),
      cmocka_unit_test(zeros_and_garbage_at_the_end),
      cmocka_unit_test(records_that_say_nothing),
      cmocka_unit_test(many_damaged_files),
      cmocka_unit_test(gone_while_in_use),
      cmocka_unit_test(shortened_while_in_use),
      cmocka_unit_test(shortened_before_one_looked),
      cmocka_unit_test(damaged_while_in_use),
      cmocka_unit_test(replaced_while_in_use),
      cmocka_unit_test(restored_from_a_backup),
  };
  return cmocka_run_group_tests_name("token damage", tests, nullptr, nullptr);
}
