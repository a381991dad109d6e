// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <p11-kit/pkcs11.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "core/health.h"
#include "core/log.h"
#include "core/result.h"
#include "core/secret.h"
#include "pkcs11/address.h"
#include "pkcs11/keys.h"
#include "pkcs11/pin_guard.h"

namespace kms::pkcs11 {

struct TokenOptions {
  std::string library;
  std::string pin_file;  // where the PIN came from, for messages
  std::int64_t timeout_ms = 10000;
  std::int64_t sessions = 8;
  std::int64_t batch_bytes = 4096;
};

// A token as the threads of one process use it. Library calls run on threads of its own, each with
// its session, so that a caller waits no longer than the timeout whatever the library does, and
// SIGPIPE in it kills nobody. A lost token answers unavailable at once, while one thread finalizes
// the library, initializes it and logs in, with growing pauses, until it is back. Thread-safe.
//
// A library that hangs keeps its threads; callers are then refused at once until a call returns.
//
// A library may not see an object that another process has made (SoftHSM 2.6.1: until somebody
// writes, when this process wrote meanwhile), and only C_Finalize and C_Initialize help. So what
// such a view of the token lacks is believed only of one that began after the question: until then
// the question waits, and the thread that connects logs in anew, at most once a second, while all
// other requests wait as well, for that moment. A key that is not there then either is never a
// reason again.
class Token {
 public:
  // logger must live until stop() has returned; guard is that of all processes of a configuration.
  Token(TokenOptions options, TokenAddress address, Secret pin, Logger& logger,
        std::shared_ptr<PinGuard> guard);
  ~Token();
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;

  // After the fork. Waits for the token at most the timeout; what is wrong shows in condition().
  // Once: a second call waits for the first.
  void start();
  // Waits a moment for calls that run; what hangs is left behind. Then no call is of use.
  void stop() noexcept;
  bool ready() const noexcept;
  Health condition() const noexcept;

  // ECB encryption of whole blocks under the key, whose object was made before the call. Concurrent
  // calls for one key share library calls. Errors: unavailable; corrupt when the token has not, or
  // no longer, this key.
  Result<Secret> encrypt(std::shared_ptr<const KeyRef> key, ByteView blocks);

  // Runs work on one of the threads. It may go on after the caller has given up, so it must own
  // what it touches. Errors: unavailable, naming what; CKR_OK and ours become the result.
  using Work = std::function<CK_RV(const Session&)>;
  Result<void> run(const char* what, Work work);

  // What is asked of objects that were made before some moment.
  using Moment = std::uint64_t;
  Moment moment() const;
  // As run(), for work on one object, of this label, that was made before the moment: it is done
  // once more on a new view of the token when the outcome is kKeyMissing or kKeyDiffers. CKR_OK or
  // one of these. Errors: unavailable.
  Result<CK_RV> look(const char* what, std::string label, Work work, Moment since);

 private:
  class Core;
  std::shared_ptr<Core> core_;
  std::once_flag started_;
};

// An answer of the library as an error of the request: corrupt for a key that is not there.
Error token_error(const char* what, CK_RV rv, const std::string& label = {});

}  // namespace kms::pkcs11
