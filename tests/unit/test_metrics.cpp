// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "hadoop/wire_json.h"
#include "metrics/jmx.h"
#include "metrics/metered.h"
#include "metrics/object_name.h"
#include "metrics/prometheus.h"
#include "unit.h"

using namespace kms;

namespace {

class SharedMemory {
 public:
  SharedMemory()
      : memory_(mmap(nullptr, Metrics::region_bytes(), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    assert_ptr_not_equal(memory_, MAP_FAILED);
  }
  ~SharedMemory() { munmap(memory_, Metrics::region_bytes()); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  void* get() const { return memory_; }

 private:
  void* memory_;
};

// Runs body in a child that then dies without any cleaning up.
template <class F>
void in_killed_child(F&& body) {
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    body();
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
}

std::uint64_t count_of(const Metrics& metrics, std::size_t cell) {
  return metrics.totals()[cell];
}

void test_buckets(void**) {
  assert_int_equal(bucket_of(0), 0);
  assert_int_equal(bucket_of(50), 0);
  assert_int_equal(bucket_of(51), 1);
  assert_int_equal(bucket_of(100), 1);
  assert_int_equal(bucket_of(101), 2);
  assert_int_equal(bucket_of(200), 2);
  assert_int_equal(bucket_of(201), 3);
  for (std::size_t i = 0; i < kBuckets; ++i) {
    const auto bound = kFirstBucketUs << i;
    assert_int_equal(bucket_of(bound), i);
    assert_int_equal(bucket_of(bound + 1), i + 1);
  }
  assert_int_equal(bucket_of(INT64_MAX), kBuckets);
}

void test_threads_lose_nothing(void**) {
  const auto metrics = Metrics::open(nullptr);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i)
        metrics->count_request(MetricOp::decrypt_eek, MetricResult::ok, 60);
    });
  for (std::thread& thread : threads) thread.join();
  assert_int_equal(count_of(*metrics, cells::request(MetricOp::decrypt_eek, MetricResult::ok)),
                   160000);
  const std::size_t histogram = cells::duration(MetricOp::decrypt_eek);
  assert_int_equal(count_of(*metrics, histogram + 1), 160000);
  assert_int_equal(count_of(*metrics, histogram + kBuckets + 1), 160000 * 60);
}

void test_processes_share_and_may_be_killed(void**) {
  const SharedMemory memory;
  const auto parent = Metrics::open(memory.get());
  for (int i = 0; i < 3; ++i)
    in_killed_child([&] {
      const auto child = Metrics::open(memory.get());
      child->attach();
      child->enter();
      child->mark(JavaMeter::admin);
    });
  assert_int_equal(parent->meter(JavaMeter::admin, 1).count, 3);
  // What was in work died with its process.
  assert_int_equal(parent->processes().in_flight, 0);
  assert_int_equal(parent->processes().processes, 0);
  assert_true(parent->processes().cpu_us > 0);
  const auto cpu = parent->processes().cpu_us;
  parent->attach();
  assert_true(parent->processes().cpu_us >= cpu);  // of those that are gone as well
  assert_int_equal(parent->processes().processes, 1);
  assert_true(parent->processes().resident_bytes > 0);
  assert_true(parent->processes().threads >= 1);
  {
    const InFlight one(*parent);
    assert_int_equal(parent->processes().in_flight, 1);
  }
  assert_int_equal(parent->processes().in_flight, 0);
  parent->detach();
  assert_int_equal(parent->processes().processes, 0);
}

void test_a_region_is_kept(void**) {
  const SharedMemory memory;
  std::int64_t start = 0;
  {
    const auto first = Metrics::open(memory.get());
    first->mark(JavaMeter::key);
    start = first->start_ms();
  }
  const auto second = Metrics::open(memory.get());
  assert_int_equal(second->meter(JavaMeter::key, 1).count, 1);
  assert_int_equal(second->start_ms(), start);
  // Bytes of something else are not taken for counters.
  std::memset(memory.get(), 0x5a, Metrics::region_bytes());
  assert_int_equal(Metrics::open(memory.get())->meter(JavaMeter::key, 1).count, 0);
}

bool near(double a, double b) {
  return std::fabs(a - b) < 1e-9;
}

// Dropwizard's: the first tick sets the rate, each further one moves it by alpha.
void test_rates(void**) {
  const auto metrics = Metrics::open(nullptr);
  const std::int64_t start = -metrics->uptime_ms(0);
  for (int i = 0; i < 50; ++i) metrics->mark(JavaMeter::admin);
  metrics->tick(start + 4999);
  assert_true(near(metrics->meter(JavaMeter::admin, start + 4999).one_minute, 0));
  metrics->tick(start + 5000);
  MeterRates rates = metrics->meter(JavaMeter::admin, start + 5000);
  assert_true(near(rates.mean, 10));
  assert_true(near(rates.one_minute, 10) && near(rates.five_minutes, 10) &&
              near(rates.fifteen_minutes, 10));
  metrics->tick(start + 6000);  // not due
  metrics->tick(start + 10000);
  rates = metrics->meter(JavaMeter::admin, start + 10000);
  assert_true(near(rates.one_minute, 10 * std::exp(-5.0 / 60)));
  assert_true(near(rates.five_minutes, 10 * std::exp(-5.0 / 300)));
  assert_true(near(rates.fifteen_minutes, 10 * std::exp(-5.0 / 900)));
  assert_true(near(rates.mean, 5));
  // Eleven ticks that nobody made, and one that is made.
  metrics->tick(start + 70000);
  rates = metrics->meter(JavaMeter::admin, start + 70000);
  assert_true(near(rates.one_minute, 10 * std::exp(-13.0 * 5 / 60)));
}

void test_what_responses_count_as(void**) {
  const auto metrics = Metrics::open(nullptr);
  metrics->count_response(200, false, 10, 1000);
  metrics->count_response(201, false, 10, 1000);
  metrics->count_response(401, false, 10, 1000);
  assert_int_equal(metrics->meter(JavaMeter::invalid, 1).count, 0);
  metrics->count_response(200, true, 10, 7000);  // /jmx in Java
  metrics->count_response(404, false, 10, 1000);
  metrics->count_response(503, false, 10, 1000);
  assert_int_equal(metrics->meter(JavaMeter::invalid, 1).count, 3);
  assert_int_equal(metrics->meter(JavaMeter::unauthenticated, 1).count, 1);
  assert_int_equal(count_of(*metrics, cells::kResponses + 1), 3);
  assert_int_equal(count_of(*metrics, cells::kResponses + 3), 2);
  assert_int_equal(count_of(*metrics, cells::kResponses + 4), 1);
  assert_int_equal(count_of(*metrics, cells::kResponseBytes), 60);
  assert_int_equal(metrics->longest_us(), 7000);
}

void test_object_names(void**) {
  const auto fits = [](const char* pattern, const char* name) {
    const auto p = ObjectName::parse(pattern), n = ObjectName::parse(name);
    assert_true(p.has_value() && n.has_value());
    return p->matches(*n);
  };
  const char* jvm = "Hadoop:service=KMS,name=JvmMetrics";
  for (const char* yes :
       {"", "*:*", "Hadoop:*", jvm, "Hadoop:name=JvmMetrics,service=KMS", "*:name=JvmMetrics,*",
        "*:*,name=Jvm*", "H?doop:service=*,name=J?mMetrics", "Had*op*:service=KMS,*"})
    assert_true(fits(yes, jvm));
  for (const char* no : {"java.lang:*", "*:name=JvmMetrics", "Hadoop:service=KMS", "hadoop:*",
                         "Hadoop:service=KMS,name=JvmMetrics,sub=x", "*:type=JvmMetrics,*"})
    assert_false(fits(no, jvm));
  for (const char* wrong : {"bad", "a:", "a:b", "a:b=c,", "a:=c", "a:b=c,b=d", "a:*,*", ","})
    assert_false(ObjectName::parse(wrong).has_value());
  assert_true(wildcard_match("a*b*c", "aXXbYYbZZc"));
  assert_false(wildcard_match("a*b*c", "aXXbYYbZZ"));
  // Does not take for ever.
  const std::string text(20000, 'a');
  assert_false(wildcard_match(std::string("*a*a*a*a*a*a*a*b"), text));
}

std::string jmx(const Metrics& metrics, std::optional<std::string_view> query,
                std::optional<std::string_view> get = std::nullopt) {
  JmxRequest request{metrics};
  request.port = 9600;
  request.query = query;
  request.get = get;
  return jmx_json(request);
}

hadoop::JsonPtr parsed(const std::string& text) {
  hadoop::JsonPtr root(json_loads(text.c_str(), 0, nullptr));
  assert_non_null(root.get());
  return root;
}

std::size_t beans_in(const std::string& text) {
  return json_array_size(json_object_get(parsed(text).get(), "beans"));
}

void test_jmx(void**) {
  const auto metrics = Metrics::open(nullptr);
  metrics->mark(JavaMeter::decrypt_eek);
  assert_int_equal(beans_in(jmx(*metrics, std::nullopt)), 20);
  assert_int_equal(beans_in(jmx(*metrics, "metrics:*")), 9);
  assert_int_equal(beans_in(jmx(*metrics, "nope:*")), 0);
  assert_int_equal(beans_in(jmx(*metrics, "Hadoop:service=KMS,name=HttpServer2-9600")), 1);
  assert_int_equal(beans_in(jmx(*metrics, "java.lang:type=GarbageCollector,*")), 2);

  const auto one =
      parsed(jmx(*metrics, std::nullopt, "metrics:name=hadoop.kms.decrypt_eek.calls.meter::Count"));
  const json_t* bean = json_array_get(json_object_get(one.get(), "beans"), 0);
  assert_int_equal(json_object_size(bean), 3);
  assert_int_equal(json_integer_value(json_object_get(bean, "Count")), 1);
  // The mistakes, as Java answers them.
  assert_string_equal(jmx(*metrics, "bad").c_str(), "{}\n");
  assert_string_equal(jmx(*metrics, std::nullopt, "bad::x").c_str(), "{}\n");
  for (const char* get : {"bad", "a:b=c::", "a:b=c::d::e", ""})
    assert_non_null(
        std::strstr(jmx(*metrics, std::nullopt, get).c_str(), "query format is not as expected."));
  assert_non_null(std::strstr(jmx(*metrics, std::nullopt, "java.lang:type=Memory::Nope").c_str(),
                              "No attribute with name Nope was found."));
}

void test_prometheus(void**) {
  const auto metrics = Metrics::open(nullptr);
  metrics->count_request(MetricOp::generate_eek, MetricResult::denied_key, 70);
  AuditHealth audit;
  audit.failures = 4;
  const ComponentState components[] = {{"keystore", HealthState::degraded}};
  const std::string text = prometheus_text({*metrics, audit, {7, 9}, {1, 2, 3, 4}, components});
  const auto has = [&](const char* line) { return text.find(line) != std::string::npos; };
  assert_true(has("\nkms_requests_total{operation=\"generate_eek\",result=\"denied_key\"} 1\n"));
  assert_true(
      has("\nkms_request_duration_seconds_bucket{operation=\"generate_eek\",le=\"5e-05\"} 0\n"));
  assert_true(
      has("\nkms_request_duration_seconds_bucket{operation=\"generate_eek\",le=\"1e-04\"} 1\n"));
  assert_true(has("\nkms_request_duration_seconds_count{operation=\"generate_eek\"} 1\n"));
  assert_true(has("\nkms_request_duration_seconds_sum{operation=\"generate_eek\"} 7e-05\n"));
  assert_true(has("\nkms_audit_failures_total 4\n"));
  assert_true(has("\nkms_rate_limited_total{rule=\"key\"} 2\n"));
  assert_true(has("\nkms_decrypt_alarms_total{rule=\"user\"} 3\n"));
  assert_true(has("\nkms_keys 7\n") && has("\nkms_key_versions 9\n"));
  assert_true(has("\nkms_health{component=\"keystore\",state=\"ok\"} 0\n"));
  assert_true(has("\nkms_health{component=\"keystore\",state=\"degraded\"} 1\n"));
  assert_true(has("\nkms_health{component=\"keystore\",state=\"failing\"} 0\n"));
  // Each family of the table, once, with at least one sample.
  std::set<std::string> seen;
  for (const MetricFamily& family : metric_families()) {
    const std::string name = "kms_" + std::string(family.id);
    assert_true(seen.insert(name).second);
    assert_true(has(("# HELP " + name + " ").c_str()));
    assert_true(has(("\n" + name).c_str()));
  }
}

class Silent final : public Logger {
 public:
  void log(LogLevel, std::string_view, std::string_view) noexcept override { ++lines; }
  int lines = 0;
};

void test_metered(void**) {
  const auto metrics = Metrics::open(nullptr);
  Silent silent;
  MeteredLogger logger(silent, *metrics);
  const std::string prefix = "KMS";
  logger.log(LogLevel::notice, prefix + "0202", "");
  logger.log(LogLevel::error, prefix + "0204", "");
  logger.log(LogLevel::debug, prefix + "0106", "");
  assert_int_equal(silent.lines, 3);
  assert_int_equal(count_of(*metrics, cells::kAclLoads), 1);
  assert_int_equal(count_of(*metrics, cells::kAclFailures), 1);
  assert_int_equal(count_of(*metrics, cells::kKeystoreReads), 1);
  assert_int_equal(count_of(*metrics, cells::kLogLines), 1);

  bool fails = false;
  const GroupLookup lookup = metered(
      [&](const std::string&) -> Result<std::vector<std::string>> {
        if (fails) return Error(ErrorKind::unavailable, "no");
        return std::vector<std::string>{"g"};
      },
      *metrics);
  assert_true(lookup("u").ok());
  fails = true;
  assert_false(lookup("u").ok());
  assert_int_equal(count_of(*metrics, cells::kGroupLookups), 2);
  assert_int_equal(count_of(*metrics, cells::kGroupFailures), 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_buckets),
      cmocka_unit_test(test_threads_lose_nothing),
      cmocka_unit_test(test_processes_share_and_may_be_killed),
      cmocka_unit_test(test_a_region_is_kept),
      cmocka_unit_test(test_rates),
      cmocka_unit_test(test_what_responses_count_as),
      cmocka_unit_test(test_object_names),
      cmocka_unit_test(test_jmx),
      cmocka_unit_test(test_prometheus),
      cmocka_unit_test(test_metered),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
