// SPDX-License-Identifier: Apache-2.0
// hsm adopt, hsm forget, and what hsm status says of keys that came from another keystore.
#include "hsm_adoption.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include "conf.h"
#include "hsm_commands.h"
#include "keystore_access.h"
#include "progress.h"

namespace kmsctl {
namespace {

using kms::pkcs11::Adoption;
using kms::pkcs11::KeyUses;
using kms::pkcs11::StoreOptions;
using State = Adoption::State;

constexpr const char* kPrevious = "hadoop.kms.hsm.previous.uri";

Result<KeystoreAccess> access_of(const Invocation& call, Conf& conf) {
  auto made = conf_of(call);
  if (!made.ok()) return std::move(made).error();
  conf = std::move(*made);
  auto access = keystore_access(conf, {}, {});
  if (access.ok() && !access->uri.starts_with("hsm:"))
    return Error(ErrorKind::configuration,
                 "hadoop.kms.key.provider.uri: '" + access->uri + "' is no HSM");
  return access;
}

StoreOptions options_with(const KeystoreAccess& access, const Conf& conf) {
  kms::KeyStoreOptions options = store_options(access);
  options.owner_uid = conf.uid;
  options.owner_gid = conf.gid;
  options.user_name = conf.serving_user;
  return kms::hsm_store_options(std::move(options));
}

std::string date_of(std::int64_t ms) {
  return ms == 0 ? "never" : local_time(ms);
}

const char* word_of(State state) {
  constexpr const char* words[] = {"adopted",      "would-adopt", "already-there",
                                   "rolled-since", "different",   "refused"};
  return words[static_cast<std::size_t>(state)];
}

const char* text_of(State state) {
  constexpr const char* texts[] = {"adopted",
                                   "would be adopted",
                                   "already there",
                                   "rolled in the other keystore since:",
                                   "another key of this name is there:",
                                   "refused:"};
  return texts[static_cast<std::size_t>(state)];
}

int tell_adoptions(const std::map<std::string, Adoption>& keys, Output& out) {
  std::size_t totals[6] = {};
  json_t* list = json_array();
  for (const auto& [name, key] : keys) {
    ++totals[static_cast<std::size_t>(key.state)];
    out.line(shown(name) + ": " + text_of(key.state) +
             (key.text.empty() ? "" : " " + shown(key.text)));
    json_t* one = json_object();
    json_object_set_new(one, "name", json_text(name));
    json_object_set_new(one, "state", json_string(word_of(key.state)));
    if (!key.text.empty()) json_object_set_new(one, "text", json_text(key.text));
    json_array_append_new(list, one);
  }
  out.set("keys", list);
  const auto number = [&](State state) {
    return std::to_string(totals[static_cast<std::size_t>(state)]);
  };
  out.line(std::to_string(keys.size()) + " keys: " + number(State::adopted) + " adopted, " +
           number(State::would_adopt) + " would be adopted, " + number(State::already_there) +
           " already there, " + number(State::rolled_since) + " rolled since, " +
           number(State::different) + " different, " + number(State::refused) + " refused");
  const auto some = [&](State state) { return totals[static_cast<std::size_t>(state)] > 0; };
  if (some(State::refused)) return kFailed;
  return some(State::rolled_since) || some(State::different) ? kNegative : kOk;
}

json_t* uses_json(const std::vector<KeyUses>& keys) {
  json_t* list = json_array();
  for (const KeyUses& key : keys) {
    json_t* versions = json_array();
    for (const KeyUses::Version& each : key.versions) {
      json_t* one = json_object();
      json_object_set_new(one, "name", json_text(each.name));
      json_object_set_new(one, "outside", json_boolean(each.outside));
      json_object_set_new(one, "last_use_ms",
                          json_integer(static_cast<json_int_t>(each.last_use_ms)));
      json_array_append_new(versions, one);
    }
    json_t* one = json_object();
    json_object_set_new(one, "name", json_text(key.name));
    json_object_set_new(one, "current", json_text(key.current));
    json_object_set_new(one, "adopted_ms", json_integer(static_cast<json_int_t>(key.adopted_ms)));
    json_object_set_new(one, "versions", versions);
    json_array_append_new(list, one);
  }
  return list;
}

bool has_outside(const KeyUses& key) {
  return std::any_of(key.versions.begin(), key.versions.end(),
                     [](const KeyUses::Version& each) { return each.outside; });
}

void tell_next_steps(Output& out) {
  for (const char* line :
       {"What they encrypted needs them. For each key, on a host of HDFS, as its superuser:",
        "  hdfs crypto -listZones                               which zones have the key",
        "  hdfs crypto -reencryptZone -start -path ZONE         moves their EEKs to the HSM",
        "  hdfs crypto -listReencryptionStatus                  until Completed, and no failures",
        "Files that are open keep their EEK until they are closed and the zone is done again.",
        "Deleted files that a snapshot has keep theirs: delete the snapshot, or keep the version.",
        "A version that nobody asks for any more: kmsctl hsm forget NAME@N"})
    out.line(line);
}

bool confirmed(Invocation& call) {
  if (call.has("yes")) return true;
  if (isatty(STDIN_FILENO) == 0 || call.out.json()) return false;
  std::cerr << "What is still encrypted with these versions can never be read again here: ";
  for (const std::string& version : call.arguments) std::cerr << shown(version) << " ";
  std::cerr << "\nType yes to go on: ";
  std::string typed;
  std::getline(std::cin, typed);
  return typed == "yes";
}

}  // namespace

Result<StoreOptions> hsm_options(const Invocation& call) {
  Conf conf;
  auto access = access_of(call, conf);
  if (!access.ok()) return std::move(access).error();
  return options_with(*access, conf);
}

int tell_outside(Invocation& call, const StoreOptions& options) {
  auto keys = kms::pkcs11::key_uses(options);
  if (!keys.ok()) return call.fail(keys.error());
  call.out.set("keys", uses_json(*keys));
  std::size_t outside = 0, adopted = 0;
  Table table;
  table.row({"key", "current", "outside", "last use"});
  for (const KeyUses& key : *keys) {
    adopted += key.adopted_ms > 0;
    for (const KeyUses::Version& each : key.versions) {
      if (!each.outside) continue;
      ++outside;
      table.row({shown(key.name), shown(key.current), shown(each.name), date_of(each.last_use_ms)});
    }
  }
  const std::string& previous = options.previous.uri;
  if (outside > 0) {
    table.print(call.out);
    call.out.line(std::to_string(outside) + " versions of " +
                  std::to_string(std::count_if(keys->begin(), keys->end(), has_outside)) +
                  " keys are outside, in " +
                  (previous.empty() ? std::string("a keystore that ") + kPrevious + " has to name"
                                    : shown(previous)));
    tell_next_steps(call.out);
  } else if (adopted > 0) {
    call.out.line(
        "No version is outside. The keystore that the keys came from can be archived or "
        "destroyed");
    if (!previous.empty())
      call.out.line(std::string(kPrevious) + " can be taken out of the configuration");
  }
  return kOk;
}

int run_hsm_adopt(Invocation& call) {
  Conf conf;
  auto access = access_of(call, conf);
  if (!access.ok()) return call.fail(access.error());
  const std::string given = call.get("from", access->hsm.previous_uri);
  if (given.empty())
    return call.usage_error(std::string("--from, or the property ") + kPrevious +
                            ", has to say where the keys are");
  auto from = keystore_access(conf, given, call.get("from-password-file"));
  if (!from.ok()) return call.fail(from.error());
  if (from->uri.starts_with("hsm:"))
    return call.usage_error("keys of an HSM cannot be taken over: their material never leaves it");
  std::string& previous = access->hsm.previous_uri;
  if (!previous.empty() && previous != from->uri)
    return call.fail(Error(ErrorKind::configuration, std::string(kPrevious) + " is " + previous +
                                                         ", and not " + from->uri +
                                                         ": old versions would not be found"));
  if (previous.empty()) {
    previous = from->uri;
    call.out.warning(std::string(kPrevious) + " is not set: set it to " + shown(from->uri) +
                     " before old EEKs are to be opened");
  }
  if (from->uri.starts_with("jceks:")) access->password = from->password.clone();
  StderrLogger logger(call.out);
  auto source = open_keystore(*from, logger, true);
  if (!source.ok()) return call.fail(source.error());
  std::optional<Progress> bar;
  auto keys = kms::pkcs11::adopt_keys(options_with(*access, conf), **source, call.arguments,
                                      !call.has("dry-run"), logger,
                                      [&](std::size_t done, std::size_t total) {
                                        if (!bar) bar.emplace(call.out, "keys", total);
                                        bar->at(done);
                                      });
  bar.reset();
  if (!keys.ok()) return call.fail(keys.error());
  return tell_adoptions(*keys, call.out);
}

int run_hsm_forget(Invocation& call) {
  auto options = hsm_options(call);
  if (!options.ok()) return call.fail(options.error());
  auto days = call.number("unused-days", 7, 0, 36500);
  if (!days.ok()) return call.usage_error(days.error().message);
  if (!confirmed(call))
    return call.usage_error("nothing is forgotten without --yes, or yes typed on a terminal");
  StderrLogger logger(call.out);
  auto done = kms::pkcs11::forget_versions(*options, call.arguments, *days, logger);
  if (!done.ok()) return call.fail(done.error());
  for (const std::string& version : call.arguments) call.out.line("forgotten: " + shown(version));
  return tell_outside(call, *options);
}

}  // namespace kmsctl
