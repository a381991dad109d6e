// SPDX-License-Identifier: Apache-2.0
// /kms/health: one status for balancers, and the reasons. Reads what is in memory only.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "hadoop/wire_json.h"
#include "pages/pages.h"
#include "request_state.h"

namespace kms {
namespace {

constexpr int kDegraded = 429, kFailing = 503;

std::string iso_time(std::int64_t ms) {
  const std::time_t seconds = static_cast<std::time_t>(ms / 1000);
  std::tm t{};
  gmtime_r(&seconds, &t);
  char text[32];
  return std::string(text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &t));
}

// For balancers that know up and down only: ?degraded=200 keeps a degraded server in.
int degraded_status(const rest::Query& query) {
  const std::string_view wanted = query.first("degraded").value_or("");
  int status = 0;
  const auto [end, problem] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), status);
  const bool whole = problem == std::errc() && end == wanted.data() + wanted.size();
  return whole && (status == 200 || status == kFailing) ? status : kDegraded;
}

bool is_administrator(const PageRequest& request) {
  const RequestState& state = *request_state(request.r);
  if (state.open_page != nullptr || !state.authenticated) return false;
  const rest::Identity& who = state.identity;
  return request.instance.administrators().admits({who.short_name, who.real_short},
                                                  request.instance.groups());
}

}  // namespace

void produce_health(const PageRequest& request, rest::Answer& answer) {
  const auto components = request.instance.components();
  HealthState state = HealthState::good;
  for (const auto& one : components) state = std::max(state, one.health.state);
  const bool details = state != HealthState::good && is_administrator(request);

  hadoop::JsonPtr body(json_object()), reasons(json_array());
  hadoop::set_text(body.get(), "status", health_word(state));
  for (const auto& one : components) {
    if (one.health.state == HealthState::good) continue;
    hadoop::JsonPtr reason(json_object());
    hadoop::set_text(reason.get(), "component", one.name);
    hadoop::set_text(reason.get(), "state", health_word(one.health.state));
    if (one.health.since_ms > 0)
      hadoop::set_text(reason.get(), "since", iso_time(one.health.since_ms));
    hadoop::set_text(reason.get(), "text", one.health.text);
    if (details && !one.detail.empty()) hadoop::set_text(reason.get(), "detail", one.detail);
    json_array_append_new(reasons.get(), reason.release());
  }
  json_object_set_new(body.get(), "reasons", reasons.release());
  answer.text = hadoop::dump_json(body.get()) + "\n";
  answer.headers.emplace_back("Cache-Control", "no-store");
  if (state == HealthState::good) return;
  answer.status = state == HealthState::failing ? kFailing : degraded_status(request.query);
  if (answer.status != 200) answer.headers.emplace_back("Retry-After", "5");
}

}  // namespace kms
