// SPDX-License-Identifier: Apache-2.0
#include "metrics/jmx_beans.h"

#include <jansson.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>

#include "config.h"
#include "core/clock.h"

namespace kms {
namespace {

using hadoop::JsonPtr;
using std::int64_t;

// Writes the beans. What a JVM has and httpd has not is zero; what would be a lie is left out.
class Beans {
 public:
  explicit Beans(const JmxRequest& request)
      : request_(request),
        sums_(request.metrics.totals()),
        processes_(request.metrics.processes()),
        now_(steady_ms()),
        uptime_ms_(request.metrics.uptime_ms(now_)) {
    gethostname(host_, sizeof host_ - 1);
    sysinfo(&system_);
    uname(&kernel_);
  }

  JsonPtr all() {
    for (std::size_t m = 0; m < kJavaMeterNames.size(); ++m) meter(static_cast<JavaMeter>(m));
    http_server();
    tokens();
    users();
    jvm();
    metrics_system();
    memory();
    threading();
    runtime();
    operating_system();
    collector("G1 Young Generation");
    collector("G1 Old Generation");
    return std::move(beans_);
  }

 private:
  class Bean {
   public:
    Bean(json_t* beans, const std::string& name, const std::string& type) : bean_(json_object()) {
      json_array_append_new(beans, bean_);
      text("name", name);
      text("modelerType", type);
    }
    Bean& text(const char* key, const std::string& value) {
      json_object_set_new(bean_, key, json_string(value.c_str()));
      return *this;
    }
    Bean& number(const char* key, int64_t value) {
      json_object_set_new(bean_, key, json_integer(value));
      return *this;
    }
    Bean& real(const char* key, double value) {
      json_object_set_new(bean_, key, json_real(std::isfinite(value) ? value : 0));
      return *this;
    }
    Bean& flag(const char* key, bool value) {
      json_object_set_new(bean_, key, json_boolean(value));
      return *this;
    }
    Bean& value(const char* key, json_t* given) {
      json_object_set_new(bean_, key, given);
      return *this;
    }

   private:
    json_t* bean_;
  };

  Bean platform(const std::string& properties, const std::string& type) {
    return {beans_.get(), "java.lang:" + properties, type};
  }
  Bean hadoop_bean(const std::string& name, const std::string& context) {
    Bean bean(beans_.get(), "Hadoop:service=KMS,name=" + name, name);
    bean.text("tag.Context", context);
    return bean;
  }
  int64_t sum(std::size_t cell) const { return static_cast<int64_t>(sums_[cell]); }
  // Milliseconds of an average operation.
  double average_ms(std::size_t us_cell, std::size_t count_cell) const {
    return sums_[count_cell] == 0 ? 0
                                  : static_cast<double>(sums_[us_cell]) / 1000 /
                                        static_cast<double>(sums_[count_cell]);
  }
  static double megabytes(int64_t bytes) { return static_cast<double>(bytes) / (1024 * 1024); }
  int64_t memory_total() const { return static_cast<int64_t>(system_.totalram) * system_.mem_unit; }

  void meter(JavaMeter which) {
    const MeterRates rates = request_.metrics.meter(which, now_);
    const std::string name(kJavaMeterNames[cells::at(which)]);
    Bean(beans_.get(), "metrics:name=hadoop.kms." + name + ".calls.meter",
         "com.codahale.metrics.JmxReporter$JmxMeter")
        .number("Count", static_cast<int64_t>(rates.count))
        .real("FifteenMinuteRate", rates.fifteen_minutes)
        .real("FiveMinuteRate", rates.five_minutes)
        .real("MeanRate", rates.mean)
        .real("OneMinuteRate", rates.one_minute)
        .text("RateUnit", "events/second");
  }

  void times(Bean& bean, const std::string& what) {
    const auto requests = static_cast<double>(sums_[cells::kHttpRequests]);
    const double mean = average_ms(cells::kHttpUs, cells::kHttpRequests);
    // Squares are of units of 10 us.
    const double square =
        requests > 0 ? static_cast<double>(sums_[cells::kHttpSquares]) / 1e4 / requests : 0;
    bean.number((what + "TimeMax").c_str(), request_.metrics.longest_us() / 1000)
        .real((what + "TimeMean").c_str(), mean)
        .real((what + "TimeStdDev").c_str(), std::sqrt(std::max(0.0, square - mean * mean)))
        .number((what + "TimeTotal").c_str(), sum(cells::kHttpUs) / 1000);
  }

  void http_server() {
    Bean bean = hadoop_bean("HttpServer2-" + std::to_string(request_.port), "http");
    bean.text("tag.Hostname", host_).number("Dispatched", sum(cells::kHttpRequests));
    for (const char* none :
         {"AsyncDispatches", "AsyncRequests", "AsyncRequestsWaiting", "AsyncRequestsWaitingMax"})
      bean.number(none, 0);
    bean.number("DispatchedActive", processes_.in_flight)
        .number("DispatchedActiveMax", processes_.in_flight_max);
    times(bean, "Dispatched");
    bean.number("RequestsActive", processes_.in_flight)
        .number("RequestsActiveMax", processes_.in_flight_max);
    times(bean, "Request");
    for (std::size_t i = 0; i < 5; ++i)
      bean.number(("Responses" + std::to_string(i + 1) + "xx").c_str(), sum(cells::kResponses + i));
    bean.number("ResponsesBytesTotal", sum(cells::kResponseBytes))
        .number("StatsOnMs", uptime_ms_)
        .number("Expires", 0)
        .number("Requests", sum(cells::kHttpRequests));
  }

  void tokens() {
    Bean bean = hadoop_bean("DelegationTokenSecretManagerMetrics", "token");
    bean.text("tag.Hostname", host_);
    const char* names[] = {"StoreToken", "UpdateToken", "RemoveToken"};
    for (std::size_t i = 0; i < 3; ++i) {
      const std::string name = names[i];
      bean.number((name + "NumOps").c_str(), sum(cells::kTokenChanges + i))
          .real((name + "AvgTime").c_str(),
                average_ms(cells::kTokenUs + i, cells::kTokenChanges + i));
    }
    bean.number("TokenFailure", sum(cells::kTokenFailures));
  }

  // httpd logs in nowhere: the keytab is mod_auth_gssapi's.
  void users() {
    hadoop_bean("UgiMetrics", "ugi")
        .text("tag.Hostname", host_)
        .number("GetGroupsNumOps", sum(cells::kGroupLookups))
        .real("GetGroupsAvgTime", average_ms(cells::kGroupUs, cells::kGroupLookups))
        .number("LoginFailureNumOps", 0)
        .real("LoginFailureAvgTime", 0)
        .number("LoginSuccessNumOps", 0)
        .real("LoginSuccessAvgTime", 0)
        .number("RenewalFailures", 0)
        .number("RenewalFailuresTotal", 0);
  }

  // The heap stands for resident memory, and its limit for that of the machine.
  void jvm() {
    Bean bean = hadoop_bean("JvmMetrics", "jvm");
    bean.text("tag.ProcessName", "KMS")
        .value("tag.SessionId", json_null())
        .text("tag.Hostname", host_)
        .real("MemNonHeapUsedM", 0)
        .real("MemNonHeapCommittedM", 0)
        .real("MemNonHeapMaxM", -1)
        .real("MemHeapUsedM", megabytes(processes_.resident_bytes))
        .real("MemHeapCommittedM", megabytes(processes_.resident_bytes))
        .real("MemHeapMaxM", megabytes(memory_total()))
        .real("MemMaxM", megabytes(memory_total()));
    for (const char* none : {"GcCount", "GcTimeMillis", "GcNumWarnThresholdExceeded",
                             "GcNumInfoThresholdExceeded", "GcTotalExtraSleepTime", "ThreadsNew"})
      bean.number(none, 0);
    bean.number("ThreadsRunnable", processes_.in_flight)
        .number("ThreadsBlocked", 0)
        .number("ThreadsWaiting", idle_threads())
        .number("ThreadsTimedWaiting", 0)
        .number("ThreadsTerminated", 0);
  }
  int64_t idle_threads() const {
    return std::max<int64_t>(0, processes_.threads - processes_.in_flight);
  }

  void metrics_system() {
    Bean bean(beans_.get(), "Hadoop:service=KMS,name=MetricsSystem,sub=Stats",
              "MetricsSystem,sub=Stats");
    bean.text("tag.Context", "metricssystem").text("tag.Hostname", host_);
    for (const char* sources : {"NumActiveSources", "NumAllSources"}) bean.number(sources, 4);
    for (const char* none : {"NumActiveSinks", "NumAllSinks", "DroppedPubAll", "PublishNumOps"})
      bean.number(none, 0);
    bean.real("PublishAvgTime", 0).number("SnapshotNumOps", 0).real("SnapshotAvgTime", 0);
  }

  static json_t* usage(int64_t used, int64_t max) {
    JsonPtr made(json_object());
    json_object_set_new(made.get(), "committed", json_integer(used));
    json_object_set_new(made.get(), "init", json_integer(0));
    json_object_set_new(made.get(), "max", json_integer(max));
    json_object_set_new(made.get(), "used", json_integer(used));
    return made.release();
  }

  void memory() {
    platform("type=Memory", "sun.management.MemoryImpl")
        .flag("Verbose", false)
        .number("ObjectPendingFinalizationCount", 0)
        .value("HeapMemoryUsage", usage(processes_.resident_bytes, memory_total()))
        .value("NonHeapMemoryUsage", usage(0, -1))
        .text("ObjectName", "java.lang:type=Memory");
  }

  void threading() {
    platform("type=Threading", "com.sun.management.internal.HotSpotThreadImpl")
        .number("ThreadCount", processes_.threads)
        .number("DaemonThreadCount", 0)
        .text("ObjectName", "java.lang:type=Threading");
  }

  void runtime() {
    platform("type=Runtime", "sun.management.RuntimeImpl")
        .text("Name", std::to_string(request_.pid) + "@" + host_)
        .number("StartTime", request_.metrics.start_ms())
        .text("VmName", "mod_kms " PACKAGE_VERSION)
        .number("Uptime", uptime_ms_)
        .number("Pid", request_.pid)
        .text("ObjectName", "java.lang:type=Runtime");
  }

  void operating_system() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    double load[1] = {-1};
    (void)getloadavg(load, 1);
    const auto bytes = [this](unsigned long pages) {
      return static_cast<int64_t>(pages) * system_.mem_unit;
    };
    platform("type=OperatingSystem", "com.sun.management.internal.OperatingSystemImpl")
        .number("OpenFileDescriptorCount", processes_.open_fds)
        .number("MaxFileDescriptorCount", static_cast<int64_t>(files.rlim_cur))
        .number("TotalSwapSpaceSize", bytes(system_.totalswap))
        .number("FreeSwapSpaceSize", bytes(system_.freeswap))
        .number("ProcessCpuTime", processes_.cpu_us * 1000)
        .number("FreeMemorySize", bytes(system_.freeram))
        .number("TotalMemorySize", memory_total())
        .number("FreePhysicalMemorySize", bytes(system_.freeram))
        .number("TotalPhysicalMemorySize", memory_total())
        .text("Name", kernel_.sysname)
        .text("Version", kernel_.release)
        .number("AvailableProcessors", sysconf(_SC_NPROCESSORS_ONLN))
        .text("Arch", std::string(kernel_.machine) == "x86_64" ? "amd64" : kernel_.machine)
        .real("SystemLoadAverage", load[0])
        .text("ObjectName", "java.lang:type=OperatingSystem");
  }

  void collector(const std::string& name) {
    platform("name=" + name + ",type=GarbageCollector",
             "com.sun.management.internal.GarbageCollectorExtImpl")
        .value("LastGcInfo", json_null())
        .number("CollectionCount", 0)
        .number("CollectionTime", 0)
        .value("MemoryPoolNames", json_array())
        .text("Name", name)
        .flag("Valid", true)
        .text("ObjectName", "java.lang:type=GarbageCollector,name=" + name);
  }

  const JmxRequest& request_;
  const MetricTotals sums_;
  const ProcessTotals processes_;
  const int64_t now_, uptime_ms_;
  char host_[256] = {};
  struct sysinfo system_ {};
  struct utsname kernel_ {};
  JsonPtr beans_{json_array()};
};

}  // namespace

JsonPtr jmx_beans(const JmxRequest& request) {
  return Beans(request).all();
}

}  // namespace kms
