// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>

namespace kms {

// Whether user (uid, gid and its supplementary groups) may read and write the keystore file and
// make files beside it; empty when it may, else what is wrong. Called by a root parent: a
// short-lived child drops to the user and tries, since mode bits alone do not tell (groups, POSIX
// ACLs).
std::string access_problem(const std::string& keystore, const std::string& user, uid_t uid,
                           gid_t gid);

// The same for a file that is to be read only; uid -1 is who runs this.
bool may_read(const std::string& file, const std::string& user, uid_t uid, gid_t gid);

}  // namespace kms
