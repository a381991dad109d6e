// SPDX-License-Identifier: Apache-2.0
#include "process_memory.h"

#include <apr_strings.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cstring>

namespace kms {
namespace {

constexpr const char* kPasswordVariable = "HADOOP_KEYSTORE_PASSWORD";
constexpr std::size_t kPasswordBytes = 4096;

struct StoredPassword {
  std::size_t length;
  char text[kPasswordBytes - sizeof(std::size_t)];
};

void* map_locked(std::size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  // Best effort: an unprivileged process may lock little memory.
  (void)mlock(p, bytes);
  (void)madvise(p, bytes, MADV_DONTDUMP);
  return p;
}

}  // namespace

void* shared_region(server_rec* server, const std::string& name, std::size_t bytes) {
  apr_pool_t* process_pool = server->process->pool;
  void* found = nullptr;
  const std::string key = "mod_kms:" + name;
  apr_pool_userdata_get(&found, key.c_str(), process_pool);
  if (found != nullptr) return found;
  found = map_locked(bytes);
  if (found != nullptr) {
    apr_pool_userdata_setn(found, apr_pstrdup(process_pool, key.c_str()), nullptr, process_pool);
  }
  return found;
}

bool environment_password(server_rec* server, Secret& password) {
  if (const char* value = getenv(kPasswordVariable); value != nullptr) {
    auto* stored = static_cast<StoredPassword*>(shared_region(server, "password", kPasswordBytes));
    const std::size_t length = strlen(value);
    if (stored == nullptr || length >= sizeof stored->text) {
      password = Secret(std::string_view(value));
      return true;
    }
    memcpy(stored->text, value, length);
    stored->length = length + 1;
    OPENSSL_cleanse(const_cast<char*>(value), length);
    unsetenv(kPasswordVariable);
  }
  void* found = nullptr;
  apr_pool_userdata_get(&found, "mod_kms:password", server->process->pool);
  const auto* stored = static_cast<const StoredPassword*>(found);
  if (stored == nullptr || stored->length == 0) return false;
  password = Secret(std::string_view(stored->text, stored->length - 1));
  return true;
}

}  // namespace kms
