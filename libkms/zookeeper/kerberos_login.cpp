// SPDX-License-Identifier: Apache-2.0
#include "zookeeper/kerberos_login.h"

#ifdef HAVE_ZOOKEEPER_SASL

#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <netdb.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cctype>
#include <ctime>
#include <utility>

namespace kms::zookeeper {
namespace {

constexpr std::int64_t kRetryS = 30;  // while the tickets there are may still be good

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  std::string host(name.data());
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_CANONNAME;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr) host = found->ai_canonname;
    freeaddrinfo(found);
  }
  for (char& c : host) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return host;
}

std::string with_host(std::string principal) {
  const std::size_t at = principal.find("/_HOST");
  if (at != std::string::npos) principal.replace(at + 1, 5, host_name());
  return principal;
}

}  // namespace

struct KerberosLogin::Context {
  krb5_context krb5 = nullptr;
  krb5_ccache cache = nullptr, before = nullptr;

  Error error(const std::string& what, krb5_error_code code) const {
    const char* text = krb5_get_error_message(krb5, code);
    Error out(ErrorKind::unavailable, "ZooKeeper: " + what + ": " + text);
    krb5_free_error_message(krb5, text);
    return out;
  }
  static void drop(krb5_context krb5, krb5_ccache& cache) {
    if (cache != nullptr) krb5_cc_destroy(krb5, cache);
    cache = nullptr;
  }
  ~Context() {
    if (krb5 == nullptr) return;
    drop(krb5, cache);
    drop(krb5, before);
    krb5_free_context(krb5);
  }
};

KerberosLogin::KerberosLogin(std::string principal, std::string keytab)
    : principal_(std::move(principal)), keytab_(std::move(keytab)) {}

KerberosLogin::~KerberosLogin() = default;

Result<void> KerberosLogin::renew() {
  const std::lock_guard lock(mutex_);
  if (!cache_.empty() && std::time(nullptr) < renew_at_s_) return {};
  return log_in();
}

// Into a cache of its own, so that whoever uses the one before is not disturbed.
Result<void> KerberosLogin::log_in() {
  static std::atomic<int> last{0};
  if (!context_) {
    auto context = std::make_unique<Context>();
    if (const krb5_error_code code = krb5_init_context(&context->krb5); code != 0)
      return Error(ErrorKind::unavailable, "ZooKeeper: Kerberos cannot be set up");
    context_ = std::move(context);
  }
  const krb5_context krb5 = context_->krb5;
  const std::string name = with_host(principal_);
  krb5_principal client = nullptr;
  if (const auto code = krb5_parse_name(krb5, name.c_str(), &client); code != 0)
    return context_->error("the principal " + name, code);
  krb5_keytab keytab = nullptr;
  krb5_creds creds{};
  krb5_ccache fresh = nullptr;
  const std::string cache = "MEMORY:kms_zookeeper_" + std::to_string(++last);
  krb5_error_code code = krb5_kt_resolve(krb5, keytab_.c_str(), &keytab);
  if (code == 0)
    code = krb5_get_init_creds_keytab(krb5, &creds, client, keytab, 0, nullptr, nullptr);
  const bool got = code == 0;
  if (code == 0) code = krb5_cc_resolve(krb5, cache.c_str(), &fresh);
  if (code == 0) code = krb5_cc_initialize(krb5, fresh, client);
  if (code == 0) code = krb5_cc_store_cred(krb5, fresh, &creds);
  Result<void> result;
  if (code == 0) {
    const std::int64_t begin = std::time(nullptr), end = creds.times.endtime;
    renew_at_s_ = begin + (end - begin) * 8 / 10;
    Context::drop(krb5, context_->before);
    context_->before = std::exchange(context_->cache, fresh);
    cache_ = cache;
  } else {
    result = context_->error("no ticket for " + name + " by " + keytab_, code);
    if (!cache_.empty()) renew_at_s_ = std::time(nullptr) + kRetryS;
    Context::drop(krb5, fresh);
  }
  if (got) krb5_free_cred_contents(krb5, &creds);
  if (keytab != nullptr) krb5_kt_close(krb5, keytab);
  krb5_free_principal(krb5, client);
  return result;
}

void KerberosLogin::use() noexcept {
  const std::lock_guard lock(mutex_);
  OM_uint32 minor = 0;
  if (!cache_.empty()) gss_krb5_ccache_name(&minor, cache_.c_str(), nullptr);
}

}  // namespace kms::zookeeper

#endif  // HAVE_ZOOKEEPER_SASL
