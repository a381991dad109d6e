// SPDX-License-Identifier: Apache-2.0
// The state of a key: what it is, another one, and what it forbids.
#include "rest/handlers.h"

namespace kms::rest {
namespace {

Answer state_answer(std::string_view name, KeyState state) {
  hadoop::JsonPtr json(json_object());
  hadoop::set_text(json.get(), "name", name);
  hadoop::set_text(json.get(), "state", key_state_name(state));
  return Answer::json(hadoop::dump_json(json.get()));
}

}  // namespace

Result<void> require_use(Exchange& x, std::string_view key_name, KeyUse use) {
  auto found = x.service.keys.metadata(key_name);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr || (*found)->state == KeyState::active) return {};
  return check_key_use((*found)->name, (*found)->state, use);
}

Result<void> take_first_state(const KeyStore& keys, KeyOptions& options) {
  const auto given = options.attributes.find(std::string(kKeyStateAttribute));
  if (!keys.keeps_states() || given == options.attributes.end()) return {};
  const auto state = key_state_of(given->second);
  if (state != KeyState::active && state != KeyState::pre_active)
    return Error(ErrorKind::invalid_argument,
                 "A key begins as active or pre-active, not as '" + given->second + "'");
  options.state = *state;
  options.attributes.erase(given);
  return {};
}

Result<void> resolve_state_change(Exchange& x) {
  if (x.body == nullptr)
    return Error(ErrorKind::invalid_argument, "The body must be an object with 'state'");
  auto text = hadoop::string_member(x.body.get(), "state");
  if (!text.ok()) return std::move(text).error();
  x.new_state = key_state_of(*text != nullptr ? hadoop::text_of(*text) : std::string_view());
  if (!x.new_state.has_value())
    return Error(ErrorKind::invalid_argument,
                 "Parameter 'state' must be pre-active, active, suspended, deactivated or "
                 "compromised; destroyed is a key that is deleted");
  return x.touch(x.name);
}

Result<Answer> run_set_state(Exchange& x) {
  x.audit_extra = "State:" + std::string(key_state_name(*x.new_state));
  KMS_TRY(x.service.keys.set_state(x.name, *x.new_state,
                                   [&x](const KeyVersion*) { return x.record_done(); }));
  return state_answer(x.name, *x.new_state);
}

Result<Answer> run_state(Exchange& x) {
  auto found = x.service.keys.metadata(x.name);
  if (!found.ok()) return std::move(found).error();
  if (*found == nullptr)
    return Error(ErrorKind::io, "Key " + x.name + " does not exist in " + x.service.keys.uri());
  return state_answer(x.name, (*found)->state);
}

}  // namespace kms::rest
