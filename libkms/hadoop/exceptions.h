// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"

namespace kms::hadoop {

// How an error looks on the wire: HTTP status, and the Java class that the client re-creates. Only
// classes that exist on clients and mean the same there decide what a client does
// (kms-rest.md 8.3, 8.4): IOException makes it try the next server, IllegalArgumentException and
// AuthorizationException end the call at once.
struct WireError {
  int status;
  std::string_view java_class;
};
WireError wire_error(ErrorKind kind);

// "RemoteException" body of kms-rest.md 1.6. The message is cut at its first newline, as Hadoop
// does.
std::string remote_exception_json(const Error& error);

}  // namespace kms::hadoop
