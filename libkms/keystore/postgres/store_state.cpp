// SPDX-License-Identifier: Apache-2.0
// The state of a key is a column of its row, which the row's tag binds.
#include "keystore/postgres/statements.h"
#include "keystore/postgres/write.h"

namespace kms::postgres {

Result<void> TrusteeStore::set_state(std::string_view asked, KeyState state,
                                     const Approval& approval) {
  Write write(*this, folded(asked), approval);
  return write.run_on_row([&](Connection& connection, const Rows& rows) -> Result<VersionPtr> {
    if (!is_there(rows))
      return Error(ErrorKind::io, "Key " + std::string(asked) + " does not exist in " + uri());
    auto row = checked_row(rows);
    if (!row.ok()) return std::move(row).error();
    auto now = state_of(*row);
    if (!now.ok()) return std::move(now).error();
    KMS_TRY(check_key_transition(row->name, *now, state));
    row->state = key_state_name(state);
    KMS_TRY(update_row(connection, *row));
    return VersionPtr();
  });
}

}  // namespace kms::postgres
