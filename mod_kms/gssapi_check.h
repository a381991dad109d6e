// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/log.h"
#include "hadoop/settings.h"
#include "mod_kms.h"

// configtest of what mod_auth_gssapi is told (kms-auth.md 10.1). Its own configuration is private,
// so the text of httpd's configuration is what is looked at.
namespace kms {

// Who will have to read the keytab: as InstanceOptions has it, uid -1 where that is who runs this.
struct KeytabReader {
  std::string user_name;
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
};

// The type of the KMS that answers in a server; nothing where none does or its files are bad.
using TypeOfServer = std::function<std::optional<hadoop::AuthenticationType>(const server_rec*)>;

// False when something was found with which the KMS must not start. Every finding is one line.
bool check_gssapi(const server_rec* main_server, const TypeOfServer& type_of,
                  const KeytabReader& reader, Logger& logger);

// Before httpd would call a directive of mod_auth_gssapi unknown: says what to load. False when it
// had to.
bool check_gssapi_loaded(const server_rec* main_server, Logger& logger);

}  // namespace kms
