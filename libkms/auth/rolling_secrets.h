// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "auth/signature.h"
#include "core/secret.h"

namespace kms {

// The cookie secrets that several nodes share, as they were last read, and what follows from them
// for every time until the next look: each node goes on to next by itself when that is due. Times
// are ms since the epoch.
struct RollingSecrets {
  Secret next, current, previous;  // previous may be empty
  std::int64_t due_ms = 0;         // when next becomes current
  std::int64_t rolled_ms = 0;      // when current became it

  // A node whose clock is late refuses what is signed by a secret it does not use yet, but none
  // refuses the one before. So the new one signs a little later than it is accepted.
  const Secret& signing(std::int64_t now, std::int64_t grace) const {
    if (now >= due_ms + grace) return next;
    return now < rolled_ms + grace && !previous.empty() ? previous : current;
  }
  bool matches(std::int64_t now, std::int64_t period, std::string_view text,
               std::string_view base64) const {
    // Without news every node goes on to next when it is due, and stays there. A node whose clock
    // is early signs with next before that.
    if (now < due_ms + period && signature_matches(current.view(), text, base64)) return true;
    if (signature_matches(next.view(), text, base64)) return true;
    return now < due_ms && !previous.empty() && signature_matches(previous.view(), text, base64);
  }
  // How long a new secret is accepted before it signs.
  static constexpr std::int64_t grace(std::int64_t period) {
    return period / 10 < 2000 ? period / 10 : 2000;
  }
};

}  // namespace kms
