// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "command.h"
#include "core/secret.h"

namespace kmsctl {

// Whom to ask, and as whom: --url, --user, --negotiate and so on.
struct RestOptions {
  std::string url;  // "http://host:9600/kms", without a slash at the end
  std::string user;
  bool negotiate = false;
  kms::Secret token;  // a delegation token; used instead of both
  std::string do_as;
  std::string tls_ca, tls_cert, tls_key;
  long timeout_s = 60;
};
Result<RestOptions> connection_of(Invocation& call);
// The same of the server that another option names, whatever --url says.
Result<RestOptions> connection_by(Invocation& call, const char* option);

// "http://host:port/kms" of an http(s) URL or of Hadoop's kms://http@host:port/kms. option: for
// messages.
Result<std::string> base_url(std::string_view text, const char* option = "url");

// A client of the REST API over one connection that is kept, with its cookies. For one thread.
// Errors: unavailable when the server cannot be reached or says so (503), not_authorized for 401
// and 403, internal for what else it refuses; the message is the server's.
class RestClient {
 public:
  explicit RestClient(const RestOptions& options);
  ~RestClient();
  RestClient(const RestClient&) = delete;
  RestClient& operator=(const RestClient&) = delete;

  // path is below /kms/v1/, each segment escaped; query "a=b&c=d" or empty, escaped; body null:
  // none. The result is null when the answer has no body.
  Result<JsonPtr> call(const char* method, const std::string& path, const std::string& query = {},
                       const json_t* body = nullptr);
  // One segment of a path or one value of a query.
  static std::string escape(std::string_view text);

 private:
  struct Transfer;
  std::string full_url(const std::string& path, const std::string& query) const;
  Result<void> perform(const char* method, const std::string& url, const json_t* body,
                       Transfer& transfer);

  const RestOptions& options_;
  void* curl_;  // CURL*
};

// What a command needs of the REST API: its options, and a client by them.
class Session {
 public:
  // When the options are wrong says so; open() is false then, and exit() the status to end with.
  explicit Session(Invocation& call);
  bool open() const { return client_.has_value(); }
  int exit() const { return exit_; }
  RestClient& client() { return *client_; }

 private:
  RestOptions options_;
  std::optional<RestClient> client_;
  int exit_ = kOk;
};

}  // namespace kmsctl
