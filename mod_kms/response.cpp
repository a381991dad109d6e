// SPDX-License-Identifier: Apache-2.0
#include "response.h"

#include <apr_strings.h>
#include <openssl/crypto.h>
#include <util_filter.h>

#include <cstring>

#include "core/secret.h"
#include "guard.h"
#include "request_id.h"
#include "request_state.h"

namespace kms {
namespace {

// A body bucket whose memory is wiped when the last reader is done with it. The length lies before
// the text, as the bucket's free function gets only the pointer.
constexpr std::size_t kLengthRoom = 16;

void free_wiped(void* text) {
  char* base = static_cast<char*>(text) - kLengthRoom;
  std::size_t length;
  std::memcpy(&length, base, sizeof length);
  OPENSSL_clear_free(base, kLengthRoom + length);
}

apr_bucket* secret_bucket(const Secret& body, apr_bucket_alloc_t* alloc) {
  const std::size_t length = body.size();
  char* base = static_cast<char*>(OPENSSL_malloc(kLengthRoom + length));
  if (base == nullptr) throw std::bad_alloc();
  std::memcpy(base, &length, sizeof length);
  std::memcpy(base + kLengthRoom, body.view().data(), length);
  return apr_bucket_heap_create(base + kLengthRoom, length, free_wiped, alloc);
}

void set_common_headers(request_rec* r) {
  // err_headers_out: they belong on refusals as well.
  apr_table_t* headers = r->err_headers_out;
  char* now = static_cast<char*>(apr_palloc(r->pool, APR_RFC822_DATE_LEN));
  apr_rfc822_date(now, r->request_time);
  apr_table_setn(headers, "Cache-Control", "no-cache");
  apr_table_setn(headers, "Expires", now);
  apr_table_setn(headers, "Pragma", "no-cache");
  apr_table_setn(headers, "X-Content-Type-Options", "nosniff");
  apr_table_setn(headers, "X-XSS-Protection", "1; mode=block");
  apr_table_setn(headers, "X-Request-Id", request_id(r));
}

int pass(request_rec* r, apr_bucket* body) {
  // A refusal leaves before httpd calls the handler, which is when other modules put their filters
  // in: the headers that mod_headers adds belong on it as well.
  if (const RequestState* state = request_state(r); state != nullptr && state->early)
    ap_run_insert_filter(r);
  apr_bucket_alloc_t* alloc = r->connection->bucket_alloc;
  apr_bucket_brigade* brigade = apr_brigade_create(r->pool, alloc);
  if (body != nullptr) APR_BRIGADE_INSERT_TAIL(brigade, body);
  APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(alloc));
  // A client that went away is no failure of the server.
  ap_pass_brigade(r->output_filters, brigade);
  return OK;
}

std::string html_escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace

std::string one_line(std::string_view text) {
  std::string out;
  for (char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  return out;
}

void log_failure(request_rec* r, const rest::Answer& answer) {
  if (!answer.failure.has_value()) return;
  const bool ours = *answer.failure == ErrorKind::unavailable ||
                    *answer.failure == ErrorKind::corrupt || *answer.failure == ErrorKind::internal;
  if (ours) {
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "KMS0601: %d: %s", answer.status,
                  answer.failure_text.c_str());
  } else {
    ap_log_rerror(APLOG_MARK, APLOG_DEBUG, 0, r, "KMS0602: %d: %s", answer.status,
                  answer.failure_text.c_str());
  }
}

int send_answer(request_rec* r, rest::Answer&& answer) {
  if (!answer.html_reason.empty()) return send_html_error(r, answer.status, answer.html_reason);
  set_common_headers(r);
  r->status = answer.status;
  ap_set_content_type(r, apr_pstrdup(r->pool, answer.content_type.c_str()));
  for (const auto& [name, value] : answer.headers) {
    apr_table_set(r->err_headers_out, name.c_str(), value.c_str());
  }
  apr_bucket_alloc_t* alloc = r->connection->bucket_alloc;
  if (!answer.secret_text.empty()) {
    ap_set_content_length(r, static_cast<apr_off_t>(answer.secret_text.size()));
    return pass(r, secret_bucket(answer.secret_text, alloc));
  }
  ap_set_content_length(r, static_cast<apr_off_t>(answer.text.size()));
  if (answer.text.empty()) return pass(r, nullptr);
  const auto* text = own(r->pool, new std::string(std::move(answer.text)));
  return pass(r, apr_bucket_pool_create(text->data(), text->size(), r->pool, alloc));
}

int send_html_error(request_rec* r, int status, std::string_view reason) {
  set_common_headers(r);
  const std::string phrase = one_line(reason);
  r->status = status;
  r->status_line = apr_psprintf(r->pool, "%d %s", status, phrase.c_str());
  ap_set_content_type(r, "text/html;charset=iso-8859-1");
  std::string body;
  if (r->method_number != M_OPTIONS) {
    const std::string shown = std::to_string(status) + " " + html_escaped(phrase);
    body = "<html><head><title>Error " + shown + "</title></head><body><h2>HTTP ERROR " + shown +
           "</h2></body></html>\n";
  }
  ap_set_content_length(r, static_cast<apr_off_t>(body.size()));
  if (body.empty()) return pass(r, nullptr);
  const char* text = apr_pstrmemdup(r->pool, body.data(), body.size());
  return pass(r, apr_bucket_pool_create(text, body.size(), r->pool, r->connection->bucket_alloc));
}

}  // namespace kms
