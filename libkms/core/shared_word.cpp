// SPDX-License-Identifier: Apache-2.0
#include "core/shared_word.h"

#include <sys/mman.h>

#include <cerrno>
#include <new>

#include "core/file_io.h"

namespace kms {

Result<std::shared_ptr<SharedWord>> SharedWord::map() {
  void* at =
      ::mmap(nullptr, sizeof(Word), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return io_error("map", "memory that processes share", errno);
  return std::shared_ptr<SharedWord>(new SharedWord(new (at) Word(0)));
}

SharedWord::~SharedWord() {
  ::munmap(word_, sizeof(Word));
}

}  // namespace kms
