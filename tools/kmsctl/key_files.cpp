// SPDX-License-Identifier: Apache-2.0
// key export-metadata, key import.
#include <cstdio>
#include <fstream>

#include "key_commands.h"
#include "metadata_file.h"
#include "progress.h"
#include "secret_file.h"

namespace kmsctl {
namespace {

// Writes a document to a file or to stdout; never leaves half a file under the name.
Result<void> write_document(const json_t* document, const std::string& path) {
  if (path == "-") {
    if (json_dumpf(document, stdout, JSON_INDENT(2)) != 0 || std::fputc('\n', stdout) == EOF)
      return Error(ErrorKind::io, "stdout cannot be written");
    return {};
  }
  const std::string fresh = path + ".new";
  if (json_dump_file(document, fresh.c_str(), JSON_INDENT(2)) != 0)
    return Error(ErrorKind::io, fresh + ": cannot be written");
  if (std::rename(fresh.c_str(), path.c_str()) != 0)
    return Error(ErrorKind::io, path + ": cannot be replaced");
  return {};
}

bool same_member(const json_t* a, const json_t* b, const char* name) {
  const json_t *left = json_object_get(a, name), *right = json_object_get(b, name);
  const bool none_left = left == nullptr || json_is_null(left);
  const bool none_right = right == nullptr || json_is_null(right);
  return none_left || none_right ? none_left == none_right : json_equal(left, right) != 0;
}

// The server adds key.acl.name where the request has none.
bool same_attributes(const json_t* wanted, const json_t* there, const char* key) {
  JsonPtr left(json_copy(json_object_get(wanted, "attributes")));
  JsonPtr right(json_copy(json_object_get(there, "attributes")));
  if (left == nullptr) left.reset(json_object());
  if (right == nullptr) right.reset(json_object());
  for (json_t* each : {left.get(), right.get()}) {
    const char* acl_name = json_string_value(json_object_get(each, "key.acl.name"));
    if (acl_name != nullptr && std::string_view(acl_name) == key)
      json_object_del(each, "key.acl.name");
  }
  return json_equal(left.get(), right.get()) != 0;
}

// What differs between the file and the server; empty: nothing.
std::string differences(const json_t* wanted, const json_t* there) {
  std::string text;
  for (const char* name : {"cipher", "length", "description"})
    if (!same_member(wanted, there, name)) text += (text.empty() ? "" : ", ") + std::string(name);
  if (!same_attributes(wanted, there, json_string_value(json_object_get(wanted, "name"))))
    text += text.empty() ? "attributes" : ", attributes";
  return text;
}

class Import {
 public:
  Import(Invocation& call, RestClient& client) : call_(call), client_(client) {}

  Result<void> run(const json_t* keys) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < json_array_size(keys); ++i)
      names.push_back(json_string_value(json_object_get(json_array_get(keys, i), "name")));
    auto there = key_metadata(client_, names);
    if (!there.ok()) return std::move(there).error();
    Progress progress(call_.out, "keys", names.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      one(names[i], json_array_get(keys, i), json_array_get(there->get(), i));
      progress.step();
    }
    return {};
  }

  int finish() {
    call_.out.line((call_.has("dry-run") ? "would create " : "created ") +
                   std::to_string(created_) + ", already there " + std::to_string(same_) +
                   ", different " + std::to_string(different_) + ", failed " +
                   std::to_string(failed_));
    call_.out.set("keys", list_.release());
    if (failed_ > 0) return first_failure_;
    return different_ > 0 ? kNegative : kOk;
  }

 private:
  void one(const std::string& name, const json_t* wanted, const json_t* there) {
    if (json_object_size(there) > 0) {
      const std::string what = differences(wanted, there);
      ++(what.empty() ? same_ : different_);
      return say(name, what.empty() ? "already there" : "there with another " + what);
    }
    warn(name, wanted);
    if (call_.has("dry-run")) {
      ++created_;
      return say(name, "would be created");
    }
    auto answer = client_.call("POST", "keys", {}, request(wanted).get());
    if (answer.ok()) {
      ++created_;
      kms::hadoop::wipe_member(answer->get(), "material");
      return say(name, "created");
    }
    if (failed_++ == 0) first_failure_ = exit_of(answer.error());
    say(name, "failed: " + answer.error().message);
  }

  void warn(const std::string& name, const json_t* wanted) {
    if (json_integer_value(json_object_get(wanted, "versions")) > 1 &&
        !json_is_string(json_object_get(wanted, "material")))
      call_.out.warning(shown(name) + ": had several versions; the new key has one, of its own");
    if (json_is_string(json_object_get(wanted, "material")))
      call_.out.warning(shown(name) + ": its material is taken from the file");
  }

  static JsonPtr request(const json_t* wanted) {
    JsonPtr body(json_object());
    for (const char* member : {"name", "cipher", "length", "description", "attributes", "material"})
      if (json_t* value = json_object_get(wanted, member); value != nullptr && !json_is_null(value))
        json_object_set(body.get(), member, value);
    return body;
  }

  void say(const std::string& name, const std::string& what) {
    call_.out.line(shown(name) + ": " + what);
    json_t* made = json_object();
    json_object_set_new(made, "name", json_text(name));
    json_object_set_new(made, "result", json_text(what));
    json_array_append_new(list_.get(), made);
  }

  Invocation& call_;
  RestClient& client_;
  std::size_t created_ = 0, same_ = 0, different_ = 0, failed_ = 0;
  int first_failure_ = kFailed;
  JsonPtr list_{json_array()};
};

bool has_material(const json_t* keys) {
  for (std::size_t i = 0; i < json_array_size(keys); ++i)
    if (json_is_string(json_object_get(json_array_get(keys, i), "material"))) return true;
  return false;
}

}  // namespace

int run_key_export(Invocation& call) {
  Session session(call);
  if (!session.open()) return session.exit();
  std::vector<std::string> names = call.arguments;
  if (names.empty()) {
    auto all = key_names(session.client());
    if (!all.ok()) return call.fail(all.error());
    names = std::move(*all);
  }
  auto metadata = key_metadata(session.client(), names);
  if (!metadata.ok()) return call.fail(metadata.error());
  for (std::size_t i = 0; i < names.size(); ++i)
    if (json_object_size(json_array_get(metadata->get(), i)) == 0)
      return call.fail(kNegative, "there is no key '" + shown(names[i]) + "'");
  JsonPtr document(json_object());
  json_object_set_new(document.get(), "format", json_string(kMetadataFormat));
  json_object_set(document.get(), "keys", metadata->get());
  if (call.out.json() && !call.has("output")) {
    call.out.set("format", kMetadataFormat);
    call.out.set("keys", metadata->release());
    return kOk;
  }
  const std::string path = call.get("output", "-");
  auto written = write_document(document.get(), path);
  if (!written.ok()) return call.fail(written.error());
  if (path != "-") call.out.line(path + ": " + std::to_string(names.size()) + " keys, no material");
  call.out.set("written", path);
  return kOk;
}

int run_key_import(Invocation& call) {
  auto file = read_metadata_file(call.arguments[0]);
  if (!file.ok()) return call.fail(file.error());
  const json_t* keys = json_object_get(file->get(), "keys");
  if (has_material(keys) && !call.has("allow-material"))
    return call.usage_error(call.arguments[0] +
                            " holds key material; --allow-material says that this is meant");
  if (has_material(keys)) warn_of_open_secret(call.arguments[0], call.out);
  Session session(call);
  if (!session.open()) return session.exit();
  Import import(call, session.client());
  if (auto done = import.run(keys); !done.ok()) return call.fail(done.error());
  return import.finish();
}

}  // namespace kmsctl
