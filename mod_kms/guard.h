// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <new>

#include "mod_kms.h"

namespace kms {

// The exception barrier: every callback that httpd calls runs its body through here. Whatever is
// thrown becomes a line with an id and the given status.
template <class F>
int guarded(server_rec* server, int failure, F&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    ap_log_error(APLOG_MARK, APLOG_CRIT, 0, server, "KMS0501: out of memory");
  } catch (const std::exception& e) {
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "KMS0502: unexpected exception: %s", e.what());
  } catch (...) {
    ap_log_error(APLOG_MARK, APLOG_ERR, 0, server, "KMS0503: unexpected exception");
  }
  return failure;
}

template <class F>
int guarded(request_rec* r, F&& body) noexcept {
  return guarded(r->server, HTTP_INTERNAL_SERVER_ERROR, static_cast<F&&>(body));
}

// Puts a C++ object under a pool: the pool runs its destructor.
template <class T>
T* own(apr_pool_t* pool, T* object) {
  apr_pool_cleanup_register(
      pool, object,
      [](void* p) -> apr_status_t {
        delete static_cast<T*>(p);
        return APR_SUCCESS;
      },
      apr_pool_cleanup_null);
  return object;
}

}  // namespace kms
