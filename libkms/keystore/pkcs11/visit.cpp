// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/visit.h"

#include <algorithm>
#include <utility>

#include "core/hex.h"
#include "pkcs11/apart.h"

namespace kms::pkcs11 {

Result<std::unique_ptr<Visit>> Visit::open(const StoreOptions& options, const Profile& profile) {
  auto access = TokenAccess::read(options.hsm, profile);
  if (!access.ok()) return std::move(access).error();
  access->set_environment();
  auto library = Library::load(access->library);
  if (!library.ok()) return std::move(library).error();
  Login login;
  if (auto problem = enter_token(*library, *access, login); !problem.text.empty())
    return Error(ErrorKind::unavailable, problem.text);
  std::unique_ptr<Visit> visit(
      new Visit(*library, std::move(*access), options.trustee.token == nullptr));
  visit->login = login;
  return visit;
}

Result<bool> Visit::renew() {
  if (!alone_ || std::exchange(renewed_, true)) return false;
  library->C_Finalize(nullptr);
  if (auto problem = enter_token(library, access_, login); !problem.text.empty())
    return Error(ErrorKind::unavailable, problem.text);
  return true;
}

Result<std::vector<TokenKey>> Visit::keys() const {
  std::vector<TokenKey> keys;
  if (const CK_RV rv = list_keys(session(), keys); rv != CKR_OK)
    return Error(ErrorKind::unavailable, call_text("C_FindObjects", rv));
  return keys;
}

namespace {

std::string version_text(CK_VERSION version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

std::string limit_text(CK_ULONG value) {
  if (value == CK_UNAVAILABLE_INFORMATION) return "not told";
  return value == CK_EFFECTIVELY_INFINITE ? "none" : std::to_string(value);
}

std::string mechanism_text(const Visit& visit, CK_MECHANISM_TYPE type) {
  CK_MECHANISM_INFO info{};
  const CK_RV rv = visit.library->C_GetMechanismInfo(visit.login.slot, type, &info);
  if (rv == CKR_MECHANISM_INVALID) return "no";
  return rv == CKR_OK ? "yes" : call_text("C_GetMechanismInfo", rv);
}

}  // namespace

void tell_facts(const Visit& visit, TokenReport& report) {
  const auto add = [&](const char* name, std::string value) {
    report.facts.emplace_back(name, std::move(value));
  };
  CK_INFO library{};
  add("library", visit.library_file());
  if (visit.library->C_GetInfo(&library) == CKR_OK) {
    add("library maker", padded_text(library.manufacturerID, sizeof library.manufacturerID));
    add("library version", version_text(library.libraryVersion));
    add("PKCS#11 version", version_text(library.cryptokiVersion));
  }
  const CK_TOKEN_INFO& token = visit.login.info;
  add("token", padded_text(token.label, sizeof token.label));
  add("serial number", padded_text(token.serialNumber, sizeof token.serialNumber));
  add("model", padded_text(token.model, sizeof token.model));
  add("maker", padded_text(token.manufacturerID, sizeof token.manufacturerID));
  add("hardware version", version_text(token.hardwareVersion));
  add("firmware version", version_text(token.firmwareVersion));
  add("most sessions", limit_text(token.ulMaxSessionCount));
  add("most sessions that write", limit_text(token.ulMaxRwSessionCount));
  add("AES-ECB", mechanism_text(visit, CKM_AES_ECB));
  add("AES-CTR", mechanism_text(visit, CKM_AES_CTR));
  add("AES key generation", mechanism_text(visit, CKM_AES_KEY_GEN));
}

Result<Finding> look_at_object(Visit& visit, const KeyRef& key) {
  CK_OBJECT_HANDLE object = 0;
  CK_RV rv = find_key(visit.session(), key, object);
  if (rv != CKR_OK) {
    auto renewed = visit.renew();
    if (!renewed.ok()) return std::move(renewed).error();
    if (*renewed) rv = find_key(visit.session(), key, object);
  }
  Finding finding{Finding::Kind::good, key.label, hex_text(key.id), "usable"};
  if (rv == CKR_OK) return finding;
  finding.kind = rv == kKeyMissing ? Finding::Kind::missing : Finding::Kind::differs;
  finding.what = call_text("object", rv);
  return finding;
}

void add_others(const std::vector<TokenKey>& keys, const KnownObjects& known,
                std::vector<Finding>& findings) {
  using Kind = Finding::Kind;
  for (const TokenKey& key : keys) {
    if (known.of_versions.contains(key.id)) continue;
    const bool ours = !known.store_id.empty() && key.id.size() == kKeyIdSize &&
                      key.id.starts_with(known.store_id);
    const Kind kind = known.pending.contains(key.id) ? Kind::pending
                      : ours                         ? Kind::orphan
                                                     : Kind::foreign;
    findings.push_back({kind, key.label, hex_text(key.id),
                        kind == Kind::pending
                            ? "left by an interrupted change; mended by a running server"
                        : kind == Kind::orphan ? "made for this store, which does not know it"
                                               : "not made for this store"});
  }
}

Result<void> each_orphan(const std::vector<Finding>& findings, const std::vector<std::string>& ids,
                         const std::function<Result<void>(const Finding&)>& work) {
  for (const std::string& id : ids) {
    const auto found = std::find_if(findings.begin(), findings.end(), [&](const Finding& each) {
      return each.id == id &&
             (each.kind == Finding::Kind::orphan || each.kind == Finding::Kind::pending);
    });
    if (found == findings.end())
      return Error(ErrorKind::invalid_argument, id + " is no orphan of this store");
    KMS_TRY(work(*found));
  }
  return {};
}

Result<void> destroy(const Visit& visit, const Finding& finding) {
  const CK_RV rv = destroy_key(visit.session(), *unhex(finding.id), finding.label);
  if (rv == CKR_OK || rv == kKeyMissing) return {};
  return Error(ErrorKind::unavailable, call_text("C_DestroyObject", rv));
}

}  // namespace kms::pkcs11
