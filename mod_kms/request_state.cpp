// SPDX-License-Identifier: Apache-2.0
#include "request_state.h"

#include "guard.h"
#include "kms_config.h"

namespace kms {
namespace {

// r->parsed_uri will not do: httpd folds and decodes its path in place. Of the absolute form of a
// request line ("GET http://host/path") the path is what counts.
std::string_view request_target(const request_rec* r) {
  std::string_view target = r->unparsed_uri != nullptr ? r->unparsed_uri : "";
  if (target.starts_with('/')) return target;
  const auto authority = target.find("://");
  if (authority == std::string_view::npos) return {};
  const auto path = target.find('/', authority + 3);
  return path == std::string_view::npos ? std::string_view("/") : target.substr(path);
}

}  // namespace

RequestState* request_state(const request_rec* r) {
  return static_cast<RequestState*>(ap_get_module_config(r->request_config, &kms_module));
}

RequestState& make_request_state(request_rec* r) {
  auto* state = own(r->pool, new RequestState);
  ap_set_module_config(r->request_config, &kms_module, state);
  return *state;
}

Instance* instance_of(const request_rec* r) {
  return server_config(r->server).instance;
}

std::string base_url(request_rec* r) {
  std::string url = ap_http_scheme(r);
  url += "://";
  if (const char* host = apr_table_get(r->headers_in, "Host"); host != nullptr) return url + host;
  url += ap_get_server_name_for_url(r);
  return url + ":" + std::to_string(ap_get_server_port(r));
}

std::optional<std::string_view> header(const request_rec* r, const char* name) {
  const char* value = apr_table_get(r->headers_in, name);
  if (value == nullptr) return std::nullopt;
  return std::string_view(value);
}

std::string_view raw_path(const request_rec* r) {
  const std::string_view target = request_target(r);
  return target.substr(0, target.find_first_of("?#"));
}

std::string_view raw_query(const request_rec* r) {
  const std::string_view target = request_target(r);
  const auto question = target.find('?');
  if (question == std::string_view::npos) return {};
  const std::string_view query = target.substr(question + 1);
  return query.substr(0, query.find('#'));
}

}  // namespace kms
