// SPDX-License-Identifier: Apache-2.0
// Every keystore of tests/data/jceks against what real Java made of it (the .json beside each).
#include <jansson.h>

#include <algorithm>
#include <map>
#include <set>

#include "jceks_util.h"
#include "keystore/jceks/pbe.h"
#include "keystore/jceks/sealed_object.h"

using namespace kms;
using namespace kms::jceks;
using unit::assert_text;

namespace {

const char* g_file = "";

#define CHECK(condition)                             \
  do {                                               \
    if (!(condition)) {                              \
      print_message("%s: %s\n", g_file, #condition); \
      _fail(__FILE__, __LINE__);                     \
    }                                                \
  } while (0)

struct Golden {
  std::string name, path, data, password, verdict;
  std::shared_ptr<json_t> json;
  bool crafted = false;
};

std::string text_of(json_t* object, const char* member) {
  const char* s = json_string_value(json_object_get(object, member));
  return s != nullptr ? std::string(s, json_string_length(json_object_get(object, member))) : "";
}

// jansson takes no unpaired surrogates; one file has them in its names.
std::string without_lone_surrogates(std::string json) {
  for (const char* tail : {"\"", "@"}) {
    const std::string from = std::string("\\ud83d") + tail;
    for (std::size_t at; (at = json.find(from)) != std::string::npos;)
      json.replace(at, 6, "\\ufffd");
  }
  return json;
}

std::vector<Golden> all_files() {
  std::vector<Golden> out;
  for (const auto& entry : std::filesystem::directory_iterator(unit::data_path("jceks"))) {
    if (entry.path().extension() != ".jceks") continue;
    Golden g;
    g.path = entry.path().string();
    g.name = entry.path().stem().string();
    g.data = unit::read_file(g.path);
    const std::string json = without_lone_surrogates(
        unit::read_file(entry.path().parent_path().string() + "/" + g.name + ".json"));
    json_error_t error;
    g.json.reset(json_loads(json.c_str(), 0, &error), [](json_t* j) { json_decref(j); });
    if (g.json == nullptr) _fail(g.name.c_str(), 0);
    g.password = text_of(g.json.get(), "password");
    g.verdict = text_of(g.json.get(), "providerLoad");
    g.crafted = json_is_true(json_object_get(g.json.get(), "crafted"));
    out.push_back(std::move(g));
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.name < b.name; });
  assert_true(out.size() >= 30);
  return out;
}

void check_metadata(const KeyMetadata& got, json_t* want) {
  CHECK(got.cipher == text_of(want, "cipher"));
  CHECK(got.bit_length == json_integer_value(json_object_get(want, "length")));
  json_t* description = json_object_get(want, "description");
  CHECK(got.description.has_value() == json_is_string(description));
  CHECK(got.description.value_or("") == text_of(want, "description"));
  CHECK(got.created_ms == json_integer_value(json_object_get(want, "created")));
  CHECK(got.versions == json_integer_value(json_object_get(want, "versions")));
  std::map<std::string, std::string> attributes;
  const char* name;
  json_t* value;
  json_object_foreach(json_object_get(want, "attributes"), name, value) attributes[name] =
      json_string_value(value);
  CHECK(got.attributes == attributes);
}

// One element of keys[]: metadata and all versions, or an error where Java has one.
void check_key(KeyStore& store, json_t* want) {
  const std::string name = text_of(want, "name");
  // The name as it is in the file of the unpaired surrogate.
  const std::string ask = name == "a\xEF\xBF\xBD" ? "a\xED\xA0\xBD" : name;
  auto metadata = store.metadata(ask);
  if (!text_of(want, "providerError").empty()) {
    const bool fails = !metadata.ok() || !store.versions(ask).ok();
    CHECK(fails);
    return;
  }
  CHECK(metadata.ok());
  if (json_object_get(want, "cipher") == nullptr) {
    CHECK(*metadata == nullptr);
    return;
  }
  CHECK(*metadata != nullptr);
  CHECK((*metadata)->name == name);
  check_metadata(**metadata, want);
  json_t* material = json_object_get(want, "material");
  auto versions = store.versions(ask);
  CHECK(versions.ok());
  CHECK(versions->size() == json_object_size(material));
  for (const VersionPtr& version : *versions) {
    const char* hex = json_string_value(json_object_get(material, version->version_name.c_str()));
    CHECK(hex != nullptr);
    CHECK(unit::to_hex(version->material.view()) == hex);
    CHECK(version->name == name);
  }
  CHECK(*store.current_version(ask) == (versions->empty() ? nullptr : versions->back()));
}

void provider_verdicts(void**) {
  for (const Golden& g : all_files()) {
    g_file = g.name.c_str();
    unit::TempDir dir;
    unit::Log log;
    unit::write_file(dir.path("ks"), g.data);
    auto store = unit::try_open(dir.path("ks"), log, g.password);
    CHECK(store.ok() == (g.verdict == "ok"));
    if (!store.ok()) {
      CHECK(store.error().message.find(dir.path("ks")) != std::string::npos);
      CHECK(store.error().message.size() > dir.path("ks").size() + 30);
      const bool digest = g.verdict.find("password was incorrect") != std::string::npos;
      CHECK(store.error().kind == (digest ? ErrorKind::wrong_password : ErrorKind::corrupt));
      continue;
    }
    CHECK((*store)->attach().ok());
    std::set<std::string> want;
    std::size_t i;
    json_t* each;
    json_array_foreach(json_object_get(g.json.get(), "keyNames"), i, each)
        want.insert(json_string_value(each));
    auto names = (*store)->names();
    CHECK(names.ok());
    CHECK(std::set<std::string>(names->begin(), names->end()) == want);
    CHECK(std::is_sorted(names->begin(), names->end()));
    json_array_foreach(json_object_get(g.json.get(), "keys"), i, each) check_key(**store, each);
  }
}

void check_secret_entry(const RawEntry& raw, json_t* want, const Golden& g) {
  const auto sealed = parse_sealed_object(raw.body);
  CHECK(sealed.ok());
  const std::string params_hex = text_of(want, "encodedParamsHex");
  CHECK(params_hex == (sealed->params ? unit::to_hex(*sealed->params) : "(null)"));
  if (params_hex == "(null)") return;
  const auto params = parse_pbe_params(*sealed->params);
  CHECK(params.ok());
  CHECK(unit::to_hex(params->salt) == text_of(want, "saltHex"));
  CHECK(params->iterations == json_integer_value(json_object_get(want, "iterations")));
  auto plain = pbe_decrypt(*params, as_bytes(g.password), *sealed->ciphertext);
  CHECK(plain.ok() == text_of(want, "unsealError").empty());
  if (!plain.ok()) return;
  CHECK(unit::to_hex(plain->view()) == text_of(want, "plaintextHex"));
  auto key = decode_key(plain->view());
  if (g.name == "odd-upper-alias") return;  // Java's dump could not ask for it by name
  CHECK(key.ok() == text_of(want, "getKeyError").empty());
  if (!key.ok()) return;
  if (auto* secret = std::get_if<SecretKey>(&*key)) {
    CHECK(secret->algorithm == text_of(want, "algorithm"));
    CHECK(unit::to_hex(secret->material.view()) == text_of(want, "encodedHex"));
    if (!g.crafted && text_of(want, "plaintextHex").find("4b6579526570") == std::string::npos)
      CHECK(encode_secret_key(secret->algorithm, secret->material.view()).equals(plain->view()));
  } else if (!g.crafted) {
    CHECK(encode_metadata(std::get<StoredMetadata>(*key)).equals(plain->view()));
  }
  if (!g.crafted) {
    CHECK(encode_pbe_params(*params) == Bytes(sealed->params->begin(), sealed->params->end()));
    CHECK(encode_sealed_object(*sealed->params, *sealed->ciphertext) == raw.body);
  }
}

void entries_one_by_one(void**) {
  for (const Golden& g : all_files()) {
    g_file = g.name.c_str();
    json_t* entries = json_object_get(g.json.get(), "entries");
    if (entries == nullptr) continue;
    auto parsed = parse_container(as_bytes(g.data), as_bytes(g.password));
    CHECK(parsed.ok());
    std::map<std::string, const RawEntry*> by_alias;
    for (const RawEntry& raw : parsed->entries)
      by_alias[raw.alias.starts_with("a\xED\xA0\xBD") ? "a\xEF\xBF\xBD" + raw.alias.substr(4)
                                                      : raw.alias] = &raw;
    CHECK(by_alias.size() == json_array_size(entries));
    std::size_t i;
    json_t* each;
    json_array_foreach(entries, i, each) {
      const auto found = by_alias.find(text_of(each, "alias"));
      CHECK(found != by_alias.end());
      const RawEntry& raw = *found->second;
      CHECK(raw.date_ms == json_integer_value(json_object_get(each, "dateMs")));
      const std::string type = text_of(each, "type");
      CHECK(raw.tag == (type == "SecretKeyEntry"    ? EntryTag::secret_key
                        : type == "PrivateKeyEntry" ? EntryTag::private_key
                                                    : EntryTag::certificate));
      if (raw.tag == EntryTag::secret_key) check_secret_entry(raw, each, g);
    }
  }
}

// Entries put together again in their order give the very file; what Java wrote needs no repair.
void files_byte_for_byte(void**) {
  for (const Golden& g : all_files()) {
    g_file = g.name.c_str();
    if (g.crafted) continue;
    auto parsed = parse_container(as_bytes(g.data), as_bytes(g.password));
    CHECK(parsed.ok());
    ContainerWriter writer(static_cast<std::uint32_t>(parsed->entries.size()), 0);
    for (const RawEntry& raw : parsed->entries)
      writer.add(raw.tag, raw.alias, raw.date_ms, raw.body);
    CHECK(as_text(*writer.finish(as_bytes(g.password))) == g.data);
  }
}

void no_cut_or_flipped_file_is_taken(void**) {
  const std::string data = unit::read_file(unit::data_path("jceks/attrs256.jceks"));
  for (std::size_t n = 0; n < data.size(); ++n)
    assert_false(parse_container(as_bytes(data).first(n), as_bytes("none")).ok());
  for (std::size_t n = 0; n < data.size(); ++n) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = data;
      flipped[n] = static_cast<char>(flipped[n] ^ 1 << bit);
      // Only the magic has another valid form, and the digest covers it.
      assert_false(parse_container(as_bytes(flipped), as_bytes("none")).ok());
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(provider_verdicts),
      cmocka_unit_test(entries_one_by_one),
      cmocka_unit_test(files_byte_for_byte),
      cmocka_unit_test(no_cut_or_flipped_file_is_taken),
  };
  return cmocka_run_group_tests_name("jceks golden files", tests, nullptr, nullptr);
}
