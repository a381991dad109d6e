// SPDX-License-Identifier: Apache-2.0
#include "keystore/key_state.h"

#include <array>

namespace kms {
namespace {

using enum KeyState;

struct Row {
  KeyState state;
  std::string_view name;
  bool protects, processes, rolls;
  const char* why;  // what it does not do
};

// A version of a key that never protects again would be of no use, so deactivated and compromised
// keys are not rolled; a suspended one may be, to have a new version when it goes on.
constexpr std::array<Row, 5> kRows{{
    {pre_active, "pre-active", false, false, true, "it neither encrypts nor decrypts yet"},
    {active, "active", true, true, true, ""},
    {suspended, "suspended", false, false, true, "it neither encrypts nor decrypts for now"},
    {deactivated, "deactivated", false, true, false, "it decrypts only"},
    {compromised, "compromised", false, true, false, "it decrypts only"},
}};

const Row& row_of(KeyState state) {
  return kRows[static_cast<std::size_t>(state)];
}

struct Way {
  KeyState from, to;
};
constexpr std::array<Way, 9> kWays{{{pre_active, active},
                                    {pre_active, compromised},
                                    {active, suspended},
                                    {active, deactivated},
                                    {active, compromised},
                                    {suspended, active},
                                    {suspended, deactivated},
                                    {suspended, compromised},
                                    {deactivated, compromised}}};

}  // namespace

std::string_view key_state_name(KeyState state) {
  return row_of(state).name;
}

std::optional<KeyState> key_state_of(std::string_view name) {
  for (const Row& row : kRows)
    if (row.name == name) return row.state;
  return std::nullopt;
}

Result<void> check_key_use(std::string_view name, KeyState state, KeyUse use) {
  const Row& row = row_of(state);
  const bool allowed = use == KeyUse::protect   ? row.protects
                       : use == KeyUse::process ? row.processes
                                                : row.rolls;
  if (allowed) return {};
  return Error(ErrorKind::key_state,
               "Key '" + std::string(name) + "' is " + std::string(row.name) + ": " +
                   (use == KeyUse::roll ? "it gets no new version" : row.why));
}

Result<void> check_key_transition(std::string_view name, KeyState from, KeyState to) {
  if (from == to) return {};
  std::string next;
  for (const Way& way : kWays) {
    if (way.from != from) continue;
    if (way.to == to) return {};
    next += (next.empty() ? "" : ", ") + std::string(key_state_name(way.to));
  }
  return Error(ErrorKind::invalid_argument,
               "Key '" + std::string(name) + "' is " + std::string(key_state_name(from)) +
                   " and cannot become " + std::string(key_state_name(to)) +
                   (next.empty() ? "; only deleted" : "; only " + next + ", or deleted"));
}

}  // namespace kms
