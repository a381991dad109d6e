// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "core/health.h"
#include "core/result.h"
#include "core/secret.h"

namespace kms {

// What the nodes of one key store share beside its keys: small records, sealed as keys are. A kind
// and a number name one. The content is bound to the name, the date and the revision.
struct Record {
  std::int64_t number = 0;
  std::int64_t expires_ms = 0;  // ms since the epoch; of what may be removed after it
  std::int64_t revision = 0;    // counts the changes of the record
  Secret content;
};
using RecordPtr = std::shared_ptr<const Record>;

// Kinds. A kind begins with a capital letter, which no key's name does.
inline constexpr std::string_view kCookieSecrets = "CookieSecrets";
inline constexpr std::string_view kToken = "Token";
inline constexpr std::string_view kTokenKey = "TokenKey";
inline constexpr std::string_view kHsmStore = "HsmStore";  // what the ids of its objects begin with
inline constexpr std::string_view kHsmPending = "HsmPending";  // see note_number()
// Revision of a kHsmPending: the object is being made; no version can come to refer to it any more.
inline constexpr std::int64_t kBeingMade = 1, kToBeDestroyed = 2;

// Thread-safe, after the store was attached in the process. Errors: unavailable when the store is
// out of reach, and then nothing was changed unless the text says that this is not known; corrupt
// when a record is not as it was sealed, which the store has said in the log.
class Records {
 public:
  virtual ~Records() = default;

  // How the store is, as far as this process knows by now. Must not wait for anything.
  virtual Health condition() const noexcept = 0;

  // From memory where it is known to be current: what another node changed shows within a second,
  // another process of this one at once. While the store is away what is in memory is served for
  // the time that it serves keys. Null: there is none.
  virtual Result<RecordPtr> find(std::string_view kind, std::int64_t number) = 0;
  // From the store itself.
  virtual Result<RecordPtr> read(std::string_view kind, std::int64_t number) = 0;
  // A damaged one is left out.
  virtual Result<std::vector<RecordPtr>> read_all(std::string_view kind) = 0;

  // With revision 0 makes the record; else puts it in the place of the one with that revision,
  // whose next it becomes. False: somebody else was first, and nothing was changed. Durable when it
  // returns.
  virtual Result<bool> put(std::string_view kind, const Record& record) = 0;
  // False when there is none.
  virtual Result<bool> remove(std::string_view kind, std::int64_t number) = 0;
  // Removes those whose date is before. Says how many; not all when the store is slow. Other
  // processes may have them in memory on.
  virtual Result<std::size_t> remove_expired(std::string_view kind, std::int64_t before_ms) = 0;

  // The first of count numbers that no other call gets.
  virtual Result<std::int64_t> take_numbers(std::string_view kind, std::int64_t count) = 0;
};

}  // namespace kms
