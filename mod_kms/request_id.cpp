// SPDX-License-Identifier: Apache-2.0
#include "request_id.h"

#include <array>
#include <cstdint>

#include "core/hex.h"
#include "crypto/random.h"

namespace kms {
namespace {

constexpr const char* kNote = "kms-request-id";

const char* random_id(apr_pool_t* pool) {
  std::array<std::uint8_t, 16> bytes{};
  if (!fill_public(bytes).ok()) return "unknown";
  char* text = static_cast<char*>(apr_palloc(pool, 2 * bytes.size() + 1));
  write_hex(bytes, text);
  text[2 * bytes.size()] = '\0';
  return text;
}

}  // namespace

const char* request_id(request_rec* r) {
  if (const char* id = apr_table_get(r->notes, kNote); id != nullptr) return id;
  const char* id = apr_table_get(r->subprocess_env, "UNIQUE_ID");
  if (id == nullptr) id = random_id(r->pool);
  apr_table_setn(r->notes, kNote, id);
  return id;
}

}  // namespace kms
