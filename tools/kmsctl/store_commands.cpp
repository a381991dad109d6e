// SPDX-License-Identifier: Apache-2.0
// store init, store status, store upgrade: the tables of a key store in a database.
#include "store_commands.h"

#include "keystore/postgres/trustee_store.h"

namespace kmsctl {
namespace {

json_t* number(std::int64_t n) {
  return json_integer(static_cast<json_int_t>(n));
}

int report(const std::string& uri, const kms::TrusteeStatus& status, Output& out) {
  out.set("store", uri);
  out.set("version", number(status.version));
  out.set("newest", number(status.newest));
  out.set("server", status.server);
  out.set("commits", status.commits);
  out.set("seal", status.seal_id);
  out.set("sealed_by_ours", json_boolean(status.sealed_by_ours));
  out.set("keys", number(status.keys));
  out.set("versions", number(status.versions));
  out.set("deleted", number(status.deleted));
  out.line(uri + ": " + shown(status.server));
  if (status.version == 0) {
    out.line("there is no key store yet; 'kmsctl store init' makes it");
    return kNegative;
  }
  out.line("tables of version " + std::to_string(status.version) + ", this program has " +
           std::to_string(status.newest));
  out.line("sealing key: " + shown(status.seal_id));
  out.line("commits: " + (status.commits.empty() ? "safe" : shown(status.commits)));
  out.line(std::to_string(status.keys) + " keys, " + std::to_string(status.deleted) +
           " deleted keys, " + std::to_string(status.versions) + " versions");
  const bool good =
      status.version == status.newest && status.sealed_by_ours && status.commits.empty();
  return good ? kOk : kNegative;
}

int upgrade(Invocation& call, bool initialize) {
  auto access = store_access(call, 0);
  if (!access.ok()) return call.fail(access.error());
  auto status = kms::upgrade_trustee_store(access->uri, access->trustee, initialize);
  if (!status.ok()) return call.fail(status.error());
  return report(access->uri, *status, call.out);
}

}  // namespace

Result<KeystoreAccess> store_access(const Invocation& call, std::size_t argument) {
  auto conf = conf_of(call);
  if (!conf.ok()) return std::move(conf).error();
  auto access =
      keystore_access(*conf, argument < call.arguments.size() ? call.arguments[argument] : "", {});
  // Of a provider hsm:// it is where the metadata are.
  if (access.ok() && access->uri.starts_with("hsm:") && !access->hsm.metadata_uri.empty())
    access->uri = access->hsm.metadata_uri;
  if (access.ok() && !access->uri.starts_with("trustee:"))
    return Error(ErrorKind::configuration, access->uri + ": is no key store in a database");
  return access;
}

int run_store_init(Invocation& call) {
  return upgrade(call, true);
}

int run_store_upgrade(Invocation& call) {
  return upgrade(call, false);
}

int run_store_status(Invocation& call) {
  auto access = store_access(call, 0);
  if (!access.ok()) return call.fail(access.error());
  auto status = kms::trustee_status(access->uri, access->trustee);
  if (!status.ok()) return call.fail(status.error());
  return report(access->uri, *status, call.out);
}

}  // namespace kmsctl
