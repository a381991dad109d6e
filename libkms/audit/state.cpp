// SPDX-License-Identifier: Apache-2.0
#include "audit/state.h"

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace kms {

Result<std::shared_ptr<SharedAuditState>> SharedAuditState::create() {
  void* memory =
      mmap(nullptr, sizeof(AuditState), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Error(ErrorKind::unavailable,
                 "No shared memory for the audit log: " + std::generic_category().message(errno));
  }
  return std::make_shared<SharedAuditState>(new (memory) AuditState);
}

// The other processes have their own mapping; nothing in it is theirs to destroy.
SharedAuditState::~SharedAuditState() {
  munmap(state_, sizeof(AuditState));
}

}  // namespace kms
