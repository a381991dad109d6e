// SPDX-License-Identifier: Apache-2.0
#include "rest.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "config.h"
#include "secret_file.h"

namespace kmsctl {
namespace {

constexpr const char* kDefaultUrl = "http://127.0.0.1:9600/kms";
constexpr std::size_t kMostAnswer = 256 * 1024 * 1024;

std::string current_user() {
  if (const char* name = std::getenv("HADOOP_USER_NAME"); name != nullptr && *name != '\0')
    return name;
  const passwd* account = getpwuid(geteuid());
  return account != nullptr ? account->pw_name : std::to_string(geteuid());
}

// The text of a request may hold key material.
struct TextFree {
  void operator()(char* text) const {
    OPENSSL_cleanse(text, std::strlen(text));
    std::free(text);
  }
};

struct ListFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Headers = std::unique_ptr<curl_slist, ListFree>;

// The header is a credential; curl's copy goes with the list.
void add_header(Headers& headers, const std::string& line) {
  if (curl_slist* longer = curl_slist_append(headers.get(), line.c_str())) {
    headers.release();
    headers.reset(longer);
  }
}

// An answer may hold key material, so no buffer of it is left behind.
class WipedBuffer {
 public:
  bool append(const char* data, std::size_t size) {
    if (size > kMostAnswer - size_) return false;
    if (size_ + size > bytes_.size()) {
      kms::Secret larger(std::max<std::size_t>(16 * 1024, 2 * (size_ + size)));
      if (size_ > 0) std::memcpy(larger.data(), bytes_.data(), size_);
      bytes_ = std::move(larger);
    }
    std::memcpy(bytes_.data() + size_, data, size);
    size_ += size;
    return true;
  }
  std::string_view text() const { return kms::as_text(bytes_.view().first(size_)); }

 private:
  kms::Secret bytes_;
  std::size_t size_ = 0;
};

std::size_t take_body(char* data, std::size_t, std::size_t size, void* to) {
  return static_cast<WipedBuffer*>(to)->append(data, size) ? size : 0;
}

// The reason phrase, for answers whose body says nothing.
std::size_t take_header(char* data, std::size_t, std::size_t size, void* to) {
  std::string_view line(data, size);
  if (!line.starts_with("HTTP/")) return size;
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  const std::size_t code = line.find(' ');
  const std::size_t reason = code == std::string_view::npos ? code : line.find(' ', code + 1);
  *static_cast<std::string*>(to) =
      reason == std::string_view::npos ? "" : std::string(line.substr(reason + 1));
  return size;
}

bool is_denial(std::string_view message) {
  // Java wraps the denial of generate into an IOException.
  return message.starts_with("org.apache.hadoop.security.authorize.AuthorizationException: ");
}

Error refusal(long status, const std::string& reason, const JsonPtr& json) {
  const json_t* remote = json_object_get(json.get(), "RemoteException");
  const char* said = json_string_value(json_object_get(remote, "message"));
  std::string message = said != nullptr ? said : reason;
  ErrorKind kind = ErrorKind::internal;
  if (status == 401 || status == 403 || is_denial(message)) kind = ErrorKind::not_authorized;
  if (status == 503) kind = ErrorKind::unavailable;
  return Error(kind, "the server answers " + std::to_string(status) + ": " + shown(message));
}

}  // namespace

struct RestClient::Transfer {
  WipedBuffer body;
  std::string reason;
  long status = 0;
};

Result<std::string> base_url(std::string_view text, const char* option) {
  const auto bad = [&](const char* why) {
    return Error(ErrorKind::invalid_argument,
                 "--" + std::string(option) + " " + shown(text) + ": " + why);
  };
  std::string url(text);
  if (url.starts_with("kms://")) {
    const std::size_t at = url.find('@');
    if (at == std::string::npos) return bad("wants kms://http@HOST:PORT/kms or kms://https@…");
    url = url.substr(6, at - 6) + "://" + url.substr(at + 1);
  }
  if (!url.starts_with("http://") && !url.starts_with("https://"))
    return bad("wants http://HOST:PORT/kms, https://… or kms://http@HOST:PORT/kms");
  if (url.find(';') != std::string::npos) return bad("names several servers; give one of them");
  if (url.find_first_of("?#") != std::string::npos) return bad("has a query or a fragment");
  while (url.ends_with('/')) url.pop_back();
  return url;
}

Result<RestOptions> connection_of(Invocation& call) {
  return connection_by(call, "url");
}

Result<RestOptions> connection_by(Invocation& call, const char* option) {
  RestOptions options;
  const char* environment = std::getenv("KMSCTL_URL");
  auto url = base_url(
      call.get(option, environment != nullptr && *environment != '\0' ? environment : kDefaultUrl),
      option);
  if (!url.ok()) return std::move(url).error();
  options.url = std::move(*url);
  options.negotiate = call.has("negotiate");
  if (!options.negotiate) options.user = call.get("user", current_user());
  options.do_as = call.get("do-as");
  options.tls_ca = call.get("tls-ca");
  options.tls_cert = call.get("tls-cert");
  options.tls_key = call.get("tls-key");
  auto timeout = call.number("timeout", 60, 1, 86400);
  if (!timeout.ok()) return std::move(timeout).error();
  options.timeout_s = *timeout;
  if (call.has("token-file")) {
    auto token = read_secret_file(call.get("token-file"));
    if (!token.ok()) return std::move(token).error();
    if (token->empty()) return Error(ErrorKind::io, call.get("token-file") + ": is empty");
    options.token = std::move(*token);
    warn_of_open_secret(call.get("token-file"), call.out);
  }
  return options;
}

RestClient::RestClient(const RestOptions& options) : options_(options) {
  static const CURLcode once = curl_global_init(CURL_GLOBAL_DEFAULT);
  curl_ = once == CURLE_OK ? curl_easy_init() : nullptr;
  if (curl_ == nullptr) return;
  curl_easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl_, CURLOPT_PROXY, "");  // a KMS is no matter for the proxy of a browser
  curl_easy_setopt(curl_, CURLOPT_USERAGENT, "kmsctl/" PACKAGE_VERSION);
  curl_easy_setopt(curl_, CURLOPT_COOKIEFILE, "");  // cookies in memory
  curl_easy_setopt(curl_, CURLOPT_CONNECTTIMEOUT, options.timeout_s);
  curl_easy_setopt(curl_, CURLOPT_TIMEOUT, options.timeout_s);
  curl_easy_setopt(curl_, CURLOPT_WRITEFUNCTION, take_body);
  curl_easy_setopt(curl_, CURLOPT_HEADERFUNCTION, take_header);
  if (options.negotiate) {
    curl_easy_setopt(curl_, CURLOPT_HTTPAUTH, CURLAUTH_NEGOTIATE);
    curl_easy_setopt(curl_, CURLOPT_USERPWD, ":");
  }
  if (!options.tls_ca.empty()) curl_easy_setopt(curl_, CURLOPT_CAINFO, options.tls_ca.c_str());
  if (!options.tls_cert.empty()) curl_easy_setopt(curl_, CURLOPT_SSLCERT, options.tls_cert.c_str());
  if (!options.tls_key.empty()) curl_easy_setopt(curl_, CURLOPT_SSLKEY, options.tls_key.c_str());
}

RestClient::~RestClient() {
  curl_easy_cleanup(curl_);
}

std::string RestClient::escape(std::string_view text) {
  if (text.empty()) return {};
  char* escaped = curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size()));
  if (escaped == nullptr) throw std::bad_alloc();
  std::string out(escaped);
  curl_free(escaped);
  return out;
}

std::string RestClient::full_url(const std::string& path, const std::string& query) const {
  std::string url = options_.url + "/v1/" + path;
  char separator = '?';
  const auto add = [&](const std::string& more) {
    url += separator + more;
    separator = '&';
  };
  if (!query.empty()) add(query);
  if (options_.token.empty() && !options_.user.empty()) add("user.name=" + escape(options_.user));
  if (!options_.do_as.empty()) add("doAs=" + escape(options_.do_as));
  return url;
}

Result<void> RestClient::perform(const char* method, const std::string& url, const json_t* body,
                                 Transfer& transfer) {
  if (curl_ == nullptr) return Error(ErrorKind::internal, "libcurl cannot be set up");
  Headers headers;
  add_header(headers, "Accept: application/json");
  add_header(headers, "Expect:");
  if (body != nullptr) add_header(headers, "Content-Type: application/json");
  if (!options_.token.empty())
    add_header(headers,
               "X-Hadoop-Delegation-Token: " + std::string(kms::as_text(options_.token.view())));
  const std::unique_ptr<char, TextFree> text(body != nullptr ? json_dumps(body, JSON_COMPACT)
                                                             : nullptr);
  char problem[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl_, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl_, CURLOPT_ERRORBUFFER, problem);
  curl_easy_setopt(curl_, CURLOPT_WRITEDATA, &transfer.body);
  curl_easy_setopt(curl_, CURLOPT_HEADERDATA, &transfer.reason);
  curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, text.get());
  if (text != nullptr)
    curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE, static_cast<long>(std::strlen(text.get())));
  else
    curl_easy_setopt(curl_, CURLOPT_HTTPGET, 1L);
  curl_easy_setopt(curl_, CURLOPT_CUSTOMREQUEST, method);
  const CURLcode done = curl_easy_perform(curl_);
  curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, nullptr);
  curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, nullptr);
  curl_easy_setopt(curl_, CURLOPT_ERRORBUFFER, nullptr);
  if (done != CURLE_OK)
    return Error(ErrorKind::unavailable,
                 options_.url + ": " + (*problem != '\0' ? problem : curl_easy_strerror(done)));
  curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &transfer.status);
  return {};
}

Result<JsonPtr> RestClient::call(const char* method, const std::string& path,
                                 const std::string& query, const json_t* body) {
  Transfer transfer;
  KMS_TRY(perform(method, full_url(path, query), body, transfer));
  const std::string_view text = transfer.body.text();
  JsonPtr json;
  if (!text.empty()) json.reset(json_loadb(text.data(), text.size(), JSON_DECODE_ANY, nullptr));
  if (transfer.status < 200 || transfer.status > 299)
    return refusal(transfer.status, transfer.reason, json);
  if (json == nullptr && !text.empty())
    return Error(ErrorKind::internal, options_.url + ": the answer is no JSON; is this a KMS?");
  return json;
}

Session::Session(Invocation& call) {
  auto options = connection_of(call);
  if (!options.ok()) {
    const bool usage = options.error().kind == ErrorKind::invalid_argument;
    exit_ = usage ? call.usage_error(options.error().message) : call.fail(options.error());
    return;
  }
  options_ = std::move(*options);
  client_.emplace(options_);
}

}  // namespace kmsctl
