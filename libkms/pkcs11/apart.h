// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "pkcs11/access.h"
#include "pkcs11/library.h"

namespace kms::pkcs11 {

// C_Initialize and log_in(), for a process that has one try: a token in files that another process
// is just writing to (SoftHSM) is not there for a moment, so it is looked for again for a second.
// After a problem the library is finalized.
LoginProblem enter_token(const Library& library, const TokenAccess& access, Login& login);

// Logs in and does work in a process of its own, which becomes the serving user: the caller stays
// without library and threads, and may fork later. Gives what work gives. Waits at most three times
// the timeout. Errors: configuration, whatever the kind of work's.
using ApartWork = std::function<Result<std::string>(const Session&)>;
Result<std::string> work_apart(const TokenAccess& access, const ServingUser& user,
                               const ApartWork& work);

// For a process of root's that goes on as the serving user, for good: what root makes in a token
// that is files, that user may not be able to use. Without a user, and for others than root,
// nothing happens. Errors: configuration.
Result<void> become(const ServingUser& user);

// Makes a key that does not stay and encrypts with it.
Result<void> try_login(const TokenAccess& access, const ServingUser& user);

}  // namespace kms::pkcs11
