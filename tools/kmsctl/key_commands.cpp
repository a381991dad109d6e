// SPDX-License-Identifier: Apache-2.0
// key list, show, create, roll, delete, undelete, purge, state: over REST.
#include "key_commands.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "secret_file.h"

namespace kmsctl {
namespace {

constexpr std::size_t kMostQuery =
    1500;  // bytes of names in one request, as the Java client has it

std::string text_or(const json_t* object, const char* name, const char* otherwise) {
  const char* text = json_string_value(json_object_get(object, name));
  return text != nullptr ? shown(text) : otherwise;
}

std::string number_of(const json_t* object, const char* name) {
  return std::to_string(json_integer_value(json_object_get(object, name)));
}

std::string created_of(const json_t* metadata) {
  return local_time(json_integer_value(json_object_get(metadata, "created")));
}

Error no_such_key(const std::string& name) {
  return Error(ErrorKind::invalid_argument, "there is no key '" + shown(name) + "'");
}

// Key material from --material-file: base64 text.
Result<kms::Secret> material_of(Invocation& call) {
  const std::string path = call.get("material-file");
  auto text = read_secret_file(path);
  if (!text.ok()) return text;
  const auto is_base64 = [](std::uint8_t c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '-' || c == '_' || c == '=';
  };
  const auto view = text->view();
  if (view.empty() || !std::all_of(view.begin(), view.end(), is_base64))
    return Error(ErrorKind::io, path + ": wants the key as base64 text");
  warn_of_open_secret(path, call.out);
  call.out.warning(
      "the key is as good as the source of " + path +
      " and as secret as each copy of it; without --material-file the server makes it");
  return text;
}

void set_material(json_t* body, const kms::Secret& material) {
  const auto text = kms::as_text(material.view());
  json_object_set_new(body, "material", json_stringn(text.data(), text.size()));
}

// What the server answered to create and roll; the material in it is of no interest here.
int say_version(Invocation& call, const char* what, JsonPtr answer) {
  kms::hadoop::wipe_member(answer.get(), "material");
  const std::string version = text_or(answer.get(), "versionName", "?");
  call.out.line(std::string(what) + " " + version);
  call.out.set("version", version);
  return kOk;
}

Result<void> add_attributes(const Invocation& call, json_t* body) {
  json_t* attributes = json_object();
  json_object_set_new(body, "attributes", attributes);
  for (const std::string& each : call.all("attribute")) {
    const std::size_t equal = each.find('=');
    if (equal == std::string::npos || equal == 0)
      return Error(ErrorKind::invalid_argument, "--attribute wants NAME=VALUE: " + shown(each));
    json_object_set_new(attributes, each.substr(0, equal).c_str(),
                        json_text(each.substr(equal + 1)));
  }
  return {};
}

// The members of a create request but the material.
Result<JsonPtr> create_body(const Invocation& call) {
  JsonPtr body(json_object());
  json_object_set_new(body.get(), "name", json_text(call.arguments[0]));
  for (const char* name : {"cipher", "description"})
    if (call.has(name)) json_object_set_new(body.get(), name, json_text(call.get(name)));
  auto length = call.number("length", 0, 1, 65536);
  if (!length.ok()) return std::move(length).error();
  if (*length > 0) json_object_set_new(body.get(), "length", json_integer(*length));
  if (call.has("attribute")) KMS_TRY(add_attributes(call, body.get()));
  return body;
}

// Whether whoever sits there means it.
bool confirmed(Invocation& call, const std::string& name) {
  if (call.has("yes")) return true;
  if (isatty(STDIN_FILENO) == 0 || call.out.json()) return false;
  std::cerr << "This deletes key '" << shown(name) << "' and all its versions. What is encrypted "
            << "with it can never be read again.\nType the name of the key to go on: ";
  std::string typed;
  std::getline(std::cin, typed);
  return typed == name;
}

}  // namespace

Result<std::vector<std::string>> key_names(RestClient& client) {
  auto answer = client.call("GET", "keys/names");
  if (!answer.ok()) return std::move(answer).error();
  std::vector<std::string> names;
  std::size_t i;
  json_t* name;
  json_array_foreach(answer->get(), i, name) if (json_is_string(name))
      names.emplace_back(json_string_value(name));
  std::sort(names.begin(), names.end());
  return names;
}

Result<JsonPtr> key_metadata(RestClient& client, const std::vector<std::string>& names) {
  JsonPtr all(json_array());
  for (std::size_t i = 0; i < names.size();) {
    std::string query;
    std::size_t asked = 0;
    for (; i < names.size() && (asked == 0 || query.size() < kMostQuery); ++i, ++asked)
      query += (asked > 0 ? "&key=" : "key=") + RestClient::escape(names[i]);
    auto answer = client.call("GET", "keys/metadata", query);
    if (!answer.ok()) return std::move(answer).error();
    if (json_array_size(answer->get()) != asked)
      return Error(ErrorKind::internal,
                   "the server answers with metadata of another number of keys");
    json_array_extend(all.get(), answer->get());
  }
  return all;
}

void invalidate(RestClient& client, const std::string& name, Output& out) {
  auto done = client.call("POST", "key/" + RestClient::escape(name) + "/_invalidatecache");
  if (!done.ok())
    out.warning("done, but the server's caches could not be told: " + done.error().message);
}

namespace {

int list_deleted(Invocation& call, RestClient& client) {
  auto keys = client.call("GET", "trustee/keys");
  if (!keys.ok()) return call.fail(keys.error());
  Table table;
  table.row({"NAME", "VERSIONS", "CREATED", "DELETED", "DESCRIPTION"});
  std::size_t i;
  json_t* one;
  json_array_foreach(keys->get(), i, one)
      table.row({text_or(one, "name", ""), number_of(one, "versions"), created_of(one),
                 local_time(json_integer_value(json_object_get(one, "deleted"))),
                 text_or(one, "description", "")});
  table.print(call.out);
  call.out.set("deleted_keys", keys->release());
  return kOk;
}

// A request about a key that exists, or is deleted, and has no answer but that it is done.
struct KeyRequest {
  const char* method;
  const char* path;  // before the name
  const char* query;
  const char* done;  // "deleted"
  bool confirm;      // the key, or what is left of it, is gone then
};

int ask_of_key(Invocation& call, const KeyRequest& request) {
  const std::string& name = call.arguments[0];
  Session session(call);
  if (!session.open()) return session.exit();
  if (request.confirm && !confirmed(call, name))
    return call.usage_error("nothing is " + std::string(request.done) +
                            " without --yes, or the name typed on a terminal");
  auto answer =
      session.client().call(request.method, request.path + RestClient::escape(name), request.query);
  if (!answer.ok()) return call.fail(answer.error());
  invalidate(session.client(), name, call.out);
  call.out.line(std::string(request.done) + " " + shown(name));
  call.out.set(request.done, name);
  return kOk;
}

}  // namespace

int run_key_delete(Invocation& call) {
  return ask_of_key(call, {"DELETE", "key/", "", "deleted", true});
}

int run_key_undelete(Invocation& call) {
  return ask_of_key(call, {"POST", "trustee/key/", "trusteeOp=undelete", "undeleted", false});
}

int run_key_purge(Invocation& call) {
  return ask_of_key(call, {"POST", "trustee/key/", "trusteeOp=purge", "purged", true});
}

int run_key_state(Invocation& call) {
  const std::string& name = call.arguments[0];
  Session session(call);
  if (!session.open()) return session.exit();
  const bool change = call.arguments.size() > 1;
  JsonPtr body(json_object());
  if (change) json_object_set_new(body.get(), "state", json_text(call.arguments[1]));
  auto answer =
      session.client().call(change ? "POST" : "GET", "key/" + RestClient::escape(name) + "/_state",
                            {}, change ? body.get() : nullptr);
  if (!answer.ok()) return call.fail(answer.error());
  const std::string state = text_or(answer->get(), "state", "?");
  call.out.line(shown(name) + (change ? " is now " : " is ") + state);
  call.out.set("name", name);
  call.out.set("state", state);
  return kOk;
}

int run_key_list(Invocation& call) {
  Session session(call);
  if (!session.open()) return session.exit();
  if (call.has("deleted")) return list_deleted(call, session.client());
  auto names = key_names(session.client());
  if (!names.ok()) return call.fail(names.error());
  if (!call.has("long")) {
    json_t* list = json_array();
    for (const std::string& name : *names) {
      call.out.line(shown(name));
      json_array_append_new(list, json_text(name));
    }
    call.out.set("keys", list);
    return kOk;
  }
  auto metadata = key_metadata(session.client(), *names);
  if (!metadata.ok()) return call.fail(metadata.error());
  Table table;
  table.row({"NAME", "CIPHER", "BITS", "VERSIONS", "CREATED", "DESCRIPTION"});
  std::size_t i;
  json_t* one;
  json_array_foreach(metadata->get(), i, one)
      table.row({shown((*names)[i]), text_or(one, "cipher", "-"), number_of(one, "length"),
                 number_of(one, "versions"), created_of(one), text_or(one, "description", "")});
  table.print(call.out);
  call.out.set("keys", metadata->release());
  return kOk;
}

int run_key_show(Invocation& call) {
  Session session(call);
  if (!session.open()) return session.exit();
  const std::string& name = call.arguments[0];
  auto answer = session.client().call("GET", "key/" + RestClient::escape(name) + "/_metadata");
  if (!answer.ok()) return call.fail(answer.error());
  const json_t* metadata = answer->get();
  if (json_object_size(metadata) == 0) return call.fail(kNegative, no_such_key(name).message);
  Table table;
  table.row({"name", text_or(metadata, "name", "")});
  table.row({"cipher", text_or(metadata, "cipher", "-")});
  table.row({"length", number_of(metadata, "length") + " bits"});
  table.row({"created", created_of(metadata)});
  table.row({"description", text_or(metadata, "description", "-")});
  const char* attribute;
  json_t* value;
  json_object_foreach(json_object_get(metadata, "attributes"), attribute, value)
      table.row({"attribute " + shown(attribute),
                 json_is_string(value) ? shown(json_string_value(value)) : "-"});
  const auto versions = json_integer_value(json_object_get(metadata, "versions"));
  const std::string base = text_or(metadata, "name", "");
  table.row({"versions",
             std::to_string(versions) +
                 (versions > 0 ? ", the current one is " + base + "@" + std::to_string(versions - 1)
                               : "")});
  table.print(call.out);
  call.out.set("key", answer->release());
  return kOk;
}

int run_key_create(Invocation& call) {
  auto body = create_body(call);
  if (!body.ok()) return call.usage_error(body.error().message);
  if (call.has("material-file")) {
    auto material = material_of(call);
    if (!material.ok()) return call.fail(material.error());
    set_material(body->get(), *material);
  }
  Session session(call);
  if (!session.open()) return session.exit();
  auto answer = session.client().call("POST", "keys", {}, body->get());
  if (!answer.ok()) return call.fail(answer.error());
  return say_version(call, "created", std::move(*answer));
}

int run_key_roll(Invocation& call) {
  JsonPtr body(json_object());
  if (call.has("material-file")) {
    auto material = material_of(call);
    if (!material.ok()) return call.fail(material.error());
    set_material(body.get(), *material);
  }
  Session session(call);
  if (!session.open()) return session.exit();
  const std::string& name = call.arguments[0];
  auto answer = session.client().call("POST", "key/" + RestClient::escape(name), {}, body.get());
  if (!answer.ok()) return call.fail(answer.error());
  invalidate(session.client(), name, call.out);
  return say_version(call, "rolled, current is", std::move(*answer));
}

}  // namespace kmsctl
