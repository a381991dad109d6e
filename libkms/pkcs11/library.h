// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/secret.h"
#include "pkcs11/address.h"

// The PKCS#11 library as it is: load, log in, find out what is there. Nothing here may run in a
// process that forks later.
namespace kms::pkcs11 {

// Outcomes of our own beside those of the library.
inline constexpr CK_RV kKeyMissing = CKR_VENDOR_DEFINED | 0x4b4d5301UL;
inline constexpr CK_RV kKeyDiffers = CKR_VENDOR_DEFINED | 0x4b4d5302UL;
// Not seen, and nobody could look anew yet.
inline constexpr CK_RV kKeyUnseen = CKR_VENDOR_DEFINED | 0x4b4d5303UL;

// Only C_Finalize, C_Initialize and a new login help: the token or the library has lost us.
bool is_lost(CK_RV rv) noexcept;
inline bool is_unseen(CK_RV rv) noexcept {
  return rv == kKeyMissing || rv == kKeyDiffers;
}
// "C_Encrypt: The device was removed (0x32)"
std::string call_text(const char* function, CK_RV rv);

// One loaded module; never unloaded, as libraries leave threads behind.
class Library {
 public:
  // Errors (configuration): dlopen's words, or no C_GetFunctionList.
  static Result<Library> load(const std::string& path);
  CK_FUNCTION_LIST* operator->() const noexcept { return functions_; }
  CK_RV initialize() const noexcept;

 private:
  explicit Library(CK_FUNCTION_LIST* functions) : functions_(functions) {}
  CK_FUNCTION_LIST* functions_;
};

// A token with somebody logged in.
struct Login {
  CK_SLOT_ID slot = 0;
  CK_TOKEN_INFO info{};
  CK_SESSION_HANDLE session = 0;  // keeps the login alive
};

struct LoginProblem {
  CK_RV rv = CKR_OK;
  std::string text;
  // More tries with this PIN would lock the token, or change nothing.
  bool for_good = false;
};

// Finds the token, opens a session that may write, logs in, looks for the mechanisms. The library
// must be initialized. Empty text: done. What is wrong with the PIN is said of pin_file.
LoginProblem log_in(const Library& library, const TokenAddress& address, const Secret& pin,
                    Login& out, const std::string& pin_file = {});

// Every token that is there, as "LABEL (serial NUMBER)", for messages.
std::vector<std::string> tokens_present(const Library& library);

}  // namespace kms::pkcs11
