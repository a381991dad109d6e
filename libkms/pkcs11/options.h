// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace kms::pkcs11 {

// hadoop.kms.hsm.*: which token, and how it is talked to.
struct HsmOptions {
  std::string token;                // RFC 7512 URI that names the token
  std::string library;              // the PKCS#11 module; empty: that of the profile
  std::string pin_file;             // empty: hsm-pin of systemd's credentials
  std::int64_t timeout_ms = 10000;  // longest wait for one call of the library
  std::int64_t sessions = 8;        // most that one process opens beside the one of its login
  std::int64_t batch_bytes = 4096;  // most that one C_Encrypt is given; a multiple of 16
};

// Who serves, when the process is root's: a short-lived process that only looks becomes this user.
struct ServingUser {
  uid_t uid = static_cast<uid_t>(-1);  // -1: stay who we are
  gid_t gid = static_cast<gid_t>(-1);
  std::string name;
};

}  // namespace kms::pkcs11
