// SPDX-License-Identifier: Apache-2.0
// bench: a closed loop of calls, to see how fast a server is from here.
#include "bench_command.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "progress.h"
#include "rest.h"

namespace kmsctl {
namespace {

using Clock = std::chrono::steady_clock;

// One thread's calls: on one kept connection, each after the answer to the one before.
class Worker {
 public:
  Worker(const RestOptions& options, const std::string& key, bool decrypt)
      : client_(options),
        generate_("key/" + RestClient::escape(key) + "/_eek"),
        key_(key),
        decrypt_(decrypt) {}

  // The first call; for decrypt what all others send is made of its answer.
  Result<void> prepare() {
    auto answer = client_.call("GET", generate_, kGenerateQuery);
    if (!answer.ok()) return std::move(answer).error();
    const json_t* eek = json_array_get(answer->get(), 0);
    const char* version = json_string_value(json_object_get(eek, "versionName"));
    json_t* material = json_object_get(json_object_get(eek, "encryptedKeyVersion"), "material");
    if (version == nullptr || material == nullptr)
      return Error(ErrorKind::internal, "the server answers with something else than an EEK");
    path_ = "keyversion/" + RestClient::escape(version) + "/_eek";
    body_.reset(json_object());
    json_object_set_new(body_.get(), "name", json_text(key_));
    json_object_set(body_.get(), "iv", json_object_get(eek, "iv"));
    json_object_set(body_.get(), "material", material);
    return decrypt_ ? call() : Result<void>();
  }

  void run(Clock::time_point end) {
    for (auto now = Clock::now(); now < end;) {
      const auto done = call();
      const auto after = Clock::now();
      if (done.ok())
        micros_.push_back(static_cast<std::uint32_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(after - now).count()));
      else if (errors_++ == 0)
        first_error_ = done.error().message;
      now = after;
    }
  }

  const std::vector<std::uint32_t>& micros() const { return micros_; }
  std::size_t errors() const { return errors_; }
  const std::string& first_error() const { return first_error_; }

 private:
  static constexpr const char* kGenerateQuery = "eek_op=generate&num_keys=1";

  Result<void> call() {
    auto answer = decrypt_ ? client_.call("POST", path_, "eek_op=decrypt", body_.get())
                           : client_.call("GET", generate_, kGenerateQuery);
    if (!answer.ok()) return std::move(answer).error();
    return {};
  }

  RestClient client_;
  const std::string generate_, key_;
  const bool decrypt_;
  std::string path_;
  JsonPtr body_;
  std::vector<std::uint32_t> micros_;
  std::size_t errors_ = 0;
  std::string first_error_;
};

// Calls in all threads until the time is over.
double run_all(std::vector<std::unique_ptr<Worker>>& workers, long seconds, const Output& out) {
  const auto start = Clock::now(), end = start + std::chrono::seconds(seconds);
  std::vector<std::thread> threads;
  for (auto& worker : workers) threads.emplace_back([&worker, end] { worker->run(end); });
  {
    Progress progress(out, "seconds", static_cast<std::size_t>(seconds));
    for (long i = 1; i <= seconds; ++i) {
      std::this_thread::sleep_until(start + std::chrono::seconds(i));
      progress.step();
    }
  }
  for (std::thread& thread : threads) thread.join();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string with_digits(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// The latency that a share of the calls stayed below, in ms; sorted must not be empty.
double percentile(const std::vector<std::uint32_t>& sorted, double share) {
  const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(at, sorted.size() - 1)] / 1000.0;
}

int report(Invocation& call, const std::vector<std::unique_ptr<Worker>>& workers, double took) {
  std::vector<std::uint32_t> all;
  std::size_t errors = 0;
  std::string first_error;
  for (const auto& worker : workers) {
    all.insert(all.end(), worker->micros().begin(), worker->micros().end());
    errors += worker->errors();
    if (first_error.empty()) first_error = worker->first_error();
  }
  std::sort(all.begin(), all.end());
  const double rate = static_cast<double>(all.size()) / took;
  call.out.set("calls", json_integer(static_cast<json_int_t>(all.size())));
  call.out.set("errors", json_integer(static_cast<json_int_t>(errors)));
  call.out.set("seconds", json_real(took));
  call.out.set("rate", json_real(rate));
  call.out.line(std::to_string(all.size()) + " calls in " + with_digits(took, 1) +
                " s: " + with_digits(rate, 0) + "/s, " + std::to_string(errors) + " errors");
  if (!all.empty()) {
    constexpr std::pair<const char*, double> shares[] = {
        {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"max", 1.0}};
    json_t* latency = json_object();
    std::string line = "latency in ms:";
    for (const auto& [name, share] : shares) {
      line += std::string(" ") + name + " " + with_digits(percentile(all, share), 2);
      json_object_set_new(latency, name, json_real(percentile(all, share)));
    }
    call.out.set("latency_ms", latency);
    call.out.line(line);
  }
  if (errors > 0) return call.fail(kFailed, "the first error: " + first_error);
  return kOk;
}

}  // namespace

int run_bench(Invocation& call) {
  const std::string operation = call.get("operation", "decrypt");
  if (operation != "decrypt" && operation != "generate")
    return call.usage_error("--operation is decrypt or generate");
  if (call.get("key").empty()) return call.usage_error("--key is missing");
  auto threads = call.number("threads", 4, 1, 1000);
  if (!threads.ok()) return call.usage_error(threads.error().message);
  auto seconds = call.number("seconds", 10, 1, 86400);
  if (!seconds.ok()) return call.usage_error(seconds.error().message);
  auto options = connection_of(call);
  if (!options.ok())
    return options.error().kind == ErrorKind::invalid_argument
               ? call.usage_error(options.error().message)
               : call.fail(options.error());
  std::vector<std::unique_ptr<Worker>> workers;
  for (long i = 0; i < *threads; ++i) {
    workers.push_back(std::make_unique<Worker>(*options, call.get("key"), operation == "decrypt"));
    if (auto ready = workers.back()->prepare(); !ready.ok()) return call.fail(ready.error());
  }
  return report(call, workers, run_all(workers, *seconds, call.out));
}

}  // namespace kmsctl
