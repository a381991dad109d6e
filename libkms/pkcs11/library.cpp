// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/library.h"

#include <dlfcn.h>
#include <p11-kit/p11-kit.h>

#include <cstdio>

namespace kms::pkcs11 {
namespace {

std::vector<CK_SLOT_ID> slots_with_token(const Library& library) {
  for (int tries = 0; tries < 3; ++tries) {
    CK_ULONG count = 0;
    if (library->C_GetSlotList(CK_TRUE, nullptr, &count) != CKR_OK) return {};
    std::vector<CK_SLOT_ID> slots(count);
    const CK_RV rv = library->C_GetSlotList(CK_TRUE, slots.data(), &count);
    if (rv == CKR_BUFFER_TOO_SMALL) continue;  // one more came in between
    if (rv != CKR_OK) return {};
    slots.resize(count);
    return slots;
  }
  return {};
}

std::string token_text(const CK_TOKEN_INFO& info) {
  return padded_text(info.label, sizeof info.label) + " (serial " +
         padded_text(info.serialNumber, sizeof info.serialNumber) + ")";
}

LoginProblem problem(const char* function, CK_RV rv, bool for_good = false) {
  return {rv, call_text(function, rv), for_good};
}

// The one token that the address means.
LoginProblem find_token(const Library& library, const TokenAddress& address, Login& out) {
  // Asked for its own result: an unreachable device shows here.
  CK_ULONG count = 0;
  if (const CK_RV rv = library->C_GetSlotList(CK_TRUE, nullptr, &count); rv != CKR_OK)
    return problem("C_GetSlotList", rv);
  std::string found;
  int matching = 0;
  for (const CK_SLOT_ID slot : slots_with_token(library)) {
    CK_TOKEN_INFO info{};
    if (library->C_GetTokenInfo(slot, &info) != CKR_OK) continue;
    if (!address.matches(info)) continue;
    found += (matching++ > 0 ? ", " : "") + token_text(info);
    out.slot = slot;
    out.info = info;
  }
  if (matching == 1) return {};
  if (matching > 1)
    return {CKR_ARGUMENTS_BAD, "more than one token is '" + address.text() + "': " + found, false};
  std::string present;
  for (const std::string& each : tokens_present(library))
    present += (present.empty() ? "" : ", ") + each;
  return {CKR_TOKEN_NOT_PRESENT,
          "no token is '" + address.text() + "'; there " +
              (present.empty() ? std::string("is none at all") : "are: " + present),
          false};
}

LoginProblem check_mechanism(const Library& library, CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
                             const char* name, CK_FLAGS wanted) {
  CK_MECHANISM_INFO info{};
  const CK_RV rv = library->C_GetMechanismInfo(slot, type, &info);
  if (rv != CKR_OK && rv != CKR_MECHANISM_INVALID) return problem("C_GetMechanismInfo", rv);
  if (rv == CKR_OK && (info.flags & wanted) == wanted) return {};
  return {CKR_MECHANISM_INVALID, std::string("the token does not offer ") + name, true};
}

LoginProblem user_login(const Library& library, const Secret& pin, const Login& to,
                        const std::string& pin_file) {
  // Keys that the module protects, of nShield for one, come without a login.
  if ((to.info.flags & CKF_LOGIN_REQUIRED) == 0) return {};
  if ((to.info.flags & CKF_USER_PIN_LOCKED) != 0)
    return {CKR_PIN_LOCKED, "the PIN of " + token_text(to.info) + " is locked", true};
  if ((to.info.flags & CKF_USER_PIN_FINAL_TRY) != 0)
    return {CKR_PIN_INCORRECT,
            "one more wrong PIN would lock " + token_text(to.info) + ": log in by hand first",
            true};
  const CK_RV rv = library->C_Login(to.session, CKU_USER,
                                    const_cast<CK_UTF8CHAR*>(pin.view().data()), pin.size());
  if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) return {};
  const bool for_good = rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED || rv == CKR_PIN_EXPIRED ||
                        rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_INVALID ||
                        rv == CKR_USER_PIN_NOT_INITIALIZED;
  LoginProblem failed = problem("C_Login", rv, for_good);
  failed.text = token_text(to.info) + ": " + failed.text;
  if (for_good && !pin_file.empty()) failed.text += "; the PIN is that of " + pin_file;
  return failed;
}

}  // namespace

bool is_lost(CK_RV rv) noexcept {
  switch (rv) {
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_REMOVED:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_SLOT_ID_INVALID:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_GENERAL_ERROR:
    case CKR_FUNCTION_FAILED:
      return true;
    default:
      return rv >= CKR_VENDOR_DEFINED && rv != kKeyMissing && rv != kKeyDiffers && rv != kKeyUnseen;
  }
}

std::string call_text(const char* function, CK_RV rv) {
  char number[24];
  std::snprintf(number, sizeof number, " (0x%lx)", static_cast<unsigned long>(rv));
  if (rv == kKeyMissing) return std::string(function) + ": the token does not have the key";
  if (rv == kKeyDiffers)
    return std::string(function) + ": the token has another key under the id of this one";
  if (rv == kKeyUnseen)
    return std::string(function) +
           ": the key is not seen in the token, which is to be looked at anew";
  const char* text = p11_kit_strerror(rv);
  return std::string(function) + ": " + (text != nullptr ? text : "unknown error") + number;
}

Result<Library> Library::load(const std::string& path) {
  const auto wrong = [&](const std::string& why) {
    return Error(ErrorKind::configuration,
                 "the PKCS#11 library " + path + " cannot be used: " + why);
  };
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = ::dlerror();
    return wrong(why != nullptr ? why : "unknown error");
  }
  const auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(handle, "C_GetFunctionList"));
  if (get == nullptr) return wrong("it has no C_GetFunctionList");
  CK_FUNCTION_LIST* functions = nullptr;
  if (const CK_RV rv = get(&functions); rv != CKR_OK || functions == nullptr)
    return wrong(call_text("C_GetFunctionList", rv));
  return Library(functions);
}

CK_RV Library::initialize() const noexcept {
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  const CK_RV rv = functions_->C_Initialize(&arguments);
  return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

LoginProblem log_in(const Library& library, const TokenAddress& address, const Secret& pin,
                    Login& out, const std::string& pin_file) {
  if (auto found = find_token(library, address, out); !found.text.empty()) return found;
  if (const CK_RV rv = library->C_OpenSession(out.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION,
                                              nullptr, nullptr, &out.session);
      rv != CKR_OK)
    return problem("C_OpenSession", rv);
  if (auto failed = user_login(library, pin, out, pin_file); !failed.text.empty()) return failed;
  if (auto no = check_mechanism(library, out.slot, CKM_AES_ECB, "CKM_AES_ECB", CKF_ENCRYPT);
      !no.text.empty())
    return no;
  return check_mechanism(library, out.slot, CKM_AES_KEY_GEN, "CKM_AES_KEY_GEN", CKF_GENERATE);
}

std::vector<std::string> tokens_present(const Library& library) {
  std::vector<std::string> out;
  for (const CK_SLOT_ID slot : slots_with_token(library)) {
    CK_TOKEN_INFO info{};
    if (library->C_GetTokenInfo(slot, &info) == CKR_OK) out.push_back(token_text(info));
  }
  return out;
}

}  // namespace kms::pkcs11
