// SPDX-License-Identifier: Apache-2.0
#include "handler.h"

#include <apr_strings.h>
#include <util_filter.h>

#include <algorithm>
#include <cstring>

#include "authentication.h"
#include "guard.h"
#include "kms_config.h"
#include "maintenance.h"
#include "metering.h"
#include "pages/pages.h"
#include "request_id.h"
#include "request_state.h"
#include "response.h"
#include "rest/dispatch.h"
#include "token_service.h"

namespace kms {
namespace {

// A name that is no file, for the error log and for modules that want one.
char kNoFile[] = "kms:";

constexpr std::size_t kBigBody = 256 * 1024;

// Reads the body into memory that is wiped: it may carry key material.
class BodyReader final : public rest::BodySource {
 public:
  BodyReader(request_rec* r, std::int64_t limit) : r_(r), limit_(limit) {}

  Result<Secret> read() override {
    if (const auto length = header(r_, "Content-Length"); length.has_value()) {
      char* end = nullptr;
      const apr_int64_t announced = apr_strtoi64(length->data(), &end, 10);
      if (announced > limit_) return too_large();
      if (announced > 0) buffer_ = Secret(static_cast<std::size_t>(announced));
    }
    apr_bucket_brigade* brigade = apr_brigade_create(r_->pool, r_->connection->bucket_alloc);
    bool done = false;
    while (!done) {
      const apr_status_t rv =
          ap_get_brigade(r_->input_filters, brigade, AP_MODE_READBYTES, APR_BLOCK_READ, 65536);
      if (rv != APR_SUCCESS) {
        http_status = ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        return Error(ErrorKind::io, "The request body cannot be read");
      }
      KMS_TRY(take(brigade, done));
      apr_brigade_cleanup(brigade);
    }
    if (used_ > kBigBody) note_big_body();
    return Secret(buffer_.view().first(used_));
  }

  // Set when reading failed below: the status that httpd wants to answer with.
  int http_status = OK;

 private:
  Error too_large() const {
    return Error(ErrorKind::too_large,
                 "The request body is larger than " + std::to_string(limit_) + " bytes");
  }

  Result<void> take(apr_bucket_brigade* brigade, bool& done) {
    for (apr_bucket* b = APR_BRIGADE_FIRST(brigade); b != APR_BRIGADE_SENTINEL(brigade);
         b = APR_BUCKET_NEXT(b)) {
      if (APR_BUCKET_IS_EOS(b)) {
        done = true;
        return {};
      }
      if (APR_BUCKET_IS_METADATA(b)) continue;
      const char* data = nullptr;
      apr_size_t length = 0;
      if (apr_bucket_read(b, &data, &length, APR_BLOCK_READ) != APR_SUCCESS) {
        http_status = HTTP_BAD_REQUEST;
        return Error(ErrorKind::io, "The request body cannot be read");
      }
      if (static_cast<std::int64_t>(used_ + length) > limit_) return too_large();
      append(data, length);
    }
    return {};
  }

  void append(const char* data, std::size_t length) {
    if (used_ + length > buffer_.size()) {
      Secret grown(std::max<std::size_t>({used_ + length, buffer_.size() * 2, 4096}));
      if (used_ > 0) std::memcpy(grown.data(), buffer_.view().data(), used_);
      buffer_ = std::move(grown);
    }
    if (length > 0) std::memcpy(buffer_.data() + used_, data, length);
    used_ += length;
  }

  request_rec* r_;
  std::int64_t limit_;
  Secret buffer_;
  std::size_t used_ = 0;
};

// No Require asked for a user, so nobody was asked who he is. That must not open the door.
int authenticate_late(request_rec* r) {
  const int rc = authenticate(r, false);
  if (rc != DECLINED) return rc;
  ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                "KMS0303: Kerberos needs 'Require valid-user' in this location: without it httpd "
                "does not ask mod_auth_gssapi");
  return HTTP_INTERNAL_SERVER_ERROR;
}

int serve(request_rec* r) {
  if (request_state(r) == nullptr) {
    const int rc = authenticate_late(r);
    if (rc != OK) return rc;
  }
  if (const Page* page = request_state(r)->open_page; page != nullptr) {
    r->user = nullptr;
    return serve_page(r, *page);
  }
  if (!request_state(r)->authenticated) {
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "KMS0304: httpd let a request pass that nobody authenticated");
    return HTTP_FORBIDDEN;
  }
  const InFlight in_flight(instance_of(r)->metrics());
  if (request_state(r)->token_operation != nullptr)
    return serve_token_operation(r, *instance_of(r), *request_state(r));
  const std::string_view path = raw_path(r);
  if (const Page* page = find_page(path); page != nullptr) return serve_page(r, *page);
  if (path != "/kms" && !path.starts_with("/kms/")) return send_html_error(r, 404, "Not Found");

  // A part of an answer is of use to nobody, and httpd would cut it out.
  for (const char* name : {"Range", "If-Range", "Request-Range"})
    apr_table_unset(r->headers_in, name);
  Instance& instance = *instance_of(r);
  BodyReader body(r, server_config(r->server).max_request_body.value_or(kDefaultMaxRequestBody));
  const std::string url = base_url(r);
  rest::Request request;
  request.method = r->method;
  request.raw_path = path;
  request.raw_query = raw_query(r);
  request.base_url = url;
  request.remote_ip = r->useragent_ip;
  request.id = request_id(r);
  request.received_us = r->request_time;
  request.content_type = header(r, "Content-Type");
  request.accept = header(r, "Accept");
  request.origin = header(r, "Origin");
  request.body = &body;
  rest::Service service = instance.service();
  rest::Answer answer = rest::dispatch(service, request, request_state(r)->identity);
  count_outcome(r, instance, answer.outcome);
  if (body.http_status != OK) return body.http_status;
  log_failure(r, answer);
  return send_answer(r, std::move(answer));
}

}  // namespace

int handle_request(request_rec* r) {
  if (!engine_on(r)) return DECLINED;
  return guarded(r, [r] { return serve(r); });
}

int translate_name(request_rec* r) {
  if (!engine_on(r)) return DECLINED;
  r->filename = kNoFile;
  return OK;
}

int map_to_storage(request_rec* r) {
  // httpd has reset the location's configuration here, so the mark of translate_name tells.
  return r->filename == kNoFile ? OK : DECLINED;
}

}  // namespace kms
