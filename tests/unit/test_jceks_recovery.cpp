// SPDX-License-Identifier: Apache-2.0
// The table of jceks.md d.4, row by row, with real files: what a start makes of NAME, NAME_NEW and
// NAME_OLD.
#include <sys/stat.h>

#include <algorithm>

#include "jceks_util.h"

using namespace kms;
using namespace kms::jceks;
using unit::assert_error;
using unit::Log;
using unit::TempDir;

namespace {

// G, B, W of the table, and Z for a file of no bytes; each good file has one key that tells which
// it was.
std::string content(char state, const std::string& key) {
  ContainerWriter writer(1, 0);
  const Secret plain = encode_metadata({});
  writer.add(EntryTag::secret_key, key, 1, *seal_key(plain.view(), as_bytes("none"), 1));
  const Bytes file = *writer.finish(as_bytes(state == 'W' ? "other" : "none"));
  std::string out(as_text(file));
  if (state == 'B') out.resize(out.size() / 2);
  return state == 'Z' ? "" : out;
}

struct Row {
  const char* states;  // NAME, _NEW, _OLD; '-' is absent
  const char* loaded;  // now, new or old; "" for an empty store; null for a refusal
  ErrorKind kind = ErrorKind::corrupt;
  const char* says = "";
};

constexpr auto kWrong = ErrorKind::wrong_password;
constexpr auto kBad = ErrorKind::corrupt;

const Row kRows[] = {
    {"---", "", {}, {}},
    {"G--", "now", {}, {}},
    {"G-G", "now", {}, {}},
    {"G-B", "now", {}, {}},
    {"G-W", "now", {}, {}},
    {"GG-", nullptr, kBad, "should not exist together"},
    {"GB-", nullptr, kBad, "should not exist together"},
    {"GW-", nullptr, kBad, "should not exist together"},
    {"BG-", nullptr, kBad, "should not exist together"},
    {"BGG", nullptr, kBad, "should not exist together"},
    {"WGG", nullptr, kBad, "should not exist together"},
    {"-G-", "new", {}, {}},
    {"-GG", "new", {}, {}},
    {"-GB", "new", {}, {}},
    {"-GW", "new", {}, {}},
    {"-BG", "old", {}, {}},
    {"-ZG", "old", {}, {}},
    {"--G", "old", {}, {}},
    // Java starts with an empty store in these four.
    {"-B-", nullptr, kBad, "the keystore itself is missing"},
    {"-BB", nullptr, kBad, "the keystore itself is missing"},
    {"--B", nullptr, kBad, "the keystore itself is missing"},
    {"-Z-", nullptr, kBad, "the file is empty"},
    {"-W-", nullptr, kWrong, "Keystore was tampered with, or password was incorrect"},
    {"-WG", nullptr, kWrong, "Keystore was tampered with, or password was incorrect"},
    {"-BW", nullptr, kWrong, "Keystore was tampered with, or password was incorrect"},
    {"--W", nullptr, kWrong, "Keystore was tampered with, or password was incorrect"},
    {"B-G", "old", {}, {}},
    {"Z-G", "old", {}, {}},
    {"B--", nullptr, kBad, "unexpected end"},
    {"Z--", nullptr, kBad, "the file is empty"},
    {"B-B", nullptr, kBad, "_OLD: Invalid secret key format"},
    {"B-W", nullptr, kWrong, "_OLD: Keystore was tampered with"},
    {"W--", nullptr, kWrong, "Keystore was tampered with, or password was incorrect"},
    {"W-G", nullptr, kWrong, "Keystore was tampered with, or password was incorrect"},
};

std::vector<std::string> listing(const std::string& dir) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename();
    if (name != ".ks.lock") out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

void lay_out(const TempDir& dir, const Row& row) {
  const char* const names[] = {"ks", "ks_NEW", "ks_OLD"};
  const char* const keys[] = {"now", "new", "old"};
  for (int i = 0; i < 3; ++i) {
    if (row.states[i] == '-') continue;
    unit::write_file(dir.path(names[i]), content(row.states[i], keys[i]));
    unit::write_file(dir.path("." + std::string(names[i]) + ".crc"), std::string_view("stale"));
    ::chmod(dir.path(names[i]).c_str(), static_cast<mode_t>(0600 + i));
  }
}

void check_row(const Row& row) {
  TempDir dir;
  Log log;
  lay_out(dir, row);
  const auto before = listing(dir.path());
  // A check sees the same and touches nothing.
  const auto checked = unit::try_open(dir.path("ks"), log, "none", true);
  assert_int_equal(checked.ok(), row.loaded != nullptr);
  assert_true(listing(dir.path()) == before);
  auto store = unit::try_open(dir.path("ks"), log);
  if (row.loaded == nullptr) {
    assert_error(store, row.kind, row.says);
    assert_true(listing(dir.path()) == before);
    return;
  }
  assert_true(store.ok());
  const std::vector<std::string> want =
      *row.loaded == '\0' ? std::vector<std::string>{} : std::vector<std::string>{row.loaded};
  assert_true(*(*store)->names() == want);
  assert_true((*store)->attach().ok());
  assert_true(*(*store)->names() == want);
  assert_int_equal(log.count("KMS0106"), 0);  // the recovered file is not read twice
  if (want.empty()) {
    assert_true(listing(dir.path()).empty());
    return;
  }
  // One keystore is left, with the owner and mode of the file that it came from, and no stale
  // sidecar.
  struct stat st;
  assert_int_equal(::stat(dir.path("ks").c_str(), &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600 + (want[0] == "now" ? 0 : want[0] == "new" ? 1 : 2));
  assert_false(unit::exists(dir.path("ks_NEW")));
  assert_false(unit::exists(dir.path("ks_OLD")));
  const bool moved = want[0] != "now";
  assert_int_equal(unit::exists(dir.path(".ks.crc")), !moved);
  const bool kept = std::any_of(before.begin(), before.end(), [](auto& n) { return n == "ks"; });
  int corrupted = 0;
  for (const auto& name : listing(dir.path())) corrupted += name.starts_with("ks_CORRUPTED_");
  assert_int_equal(corrupted, kept && moved);
  assert_true(*unit::must(unit::try_open(dir.path("ks"), log))->names() == want);
}

void every_row(void**) {
  for (const Row& row : kRows) {
    print_message("  %s\n", row.states);
    check_row(row);
  }
}

void leftover_of_our_own_writer(void**) {
  TempDir dir;
  Log log;
  unit::write_file(dir.path("ks"), content('G', "now"));
  unit::write_file(dir.path(".ks.tmp"), std::string_view("half"));
  assert_true(unit::try_open(dir.path("ks"), log).ok());
  assert_false(unit::exists(dir.path(".ks.tmp")));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(every_row),
      cmocka_unit_test(leftover_of_our_own_writer),
  };
  return cmocka_run_group_tests_name("jceks recovery", tests, nullptr, nullptr);
}
