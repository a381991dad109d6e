// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "pkcs11/options.h"

namespace kms {
namespace pkcs11 {
class Token;
}

// What the properties hadoop.kms.trustee.* say of a store in PostgreSQL. Paths are absolute.
struct TrusteeOptions {
  std::string password_file;         // of the database user; empty: none is sent
  std::string seal_key_file;         // one of these three
  std::string seal_passphrase_file;  //
  std::string seal_hsm_key;          // label of a key in a token
  std::string seal_hsm_profile = "generic";
  // Sealing keys that still open what they sealed.
  std::string previous_key_file, previous_passphrase_file, previous_hsm_key;
  pkcs11::HsmOptions hsm;  // hadoop.kms.hsm.*: the token with the sealing keys
  std::shared_ptr<pkcs11::Token>
      token;                 // that one, of who uses it for keys as well; null: of our own
  pkcs11::ServingUser user;  // who serves, when root looks into the token
  std::string ssl_mode = "verify-full";
  std::string ssl_root_cert, ssl_cert, ssl_key;
  std::int64_t timeout_ms = 5000;       // longest wait for one change or look-up
  std::int64_t poll_ms = 300;           // from one look for others' changes to the next
  std::int64_t stale_reads_ms = 60000;  // reads from memory while the database is away; 0: none
  std::int64_t connections = 4;         // of one process, beside the one that looks for changes
  std::int64_t retention_days = 0;      // before a deleted key may be purged
  bool require_standby = true;          // refuse changes without a synchronous standby

  // Whether the sealing key, or one of before, is in a token.
  bool is_sealed_by_hsm() const { return !seal_hsm_key.empty() || !previous_hsm_key.empty(); }
  // Of its calls, of which none must outlast the transaction that waits for it.
  std::int64_t seal_timeout_ms(std::int64_t usual_ms) const {
    return std::min(usual_ms, timeout_ms);
  }
};

namespace postgres {

struct Host {
  std::string name, port;
};

// trustee://USER@HOST:PORT,HOST:PORT/DATABASE. HOST may be an IPv6 address in brackets; the port
// may be left out.
struct StoreUri {
  std::string user, database;
  std::vector<Host> hosts;
};
// ErrorKind::configuration; the message does not repeat a password that should not be there.
Result<StoreUri> parse_uri(const std::string& uri);

}  // namespace postgres
}  // namespace kms
