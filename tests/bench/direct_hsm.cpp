// SPDX-License-Identifier: Apache-2.0
// Calls of a PKCS#11 library with nothing around them: what a token can do, to compare a server
// with. usage:
//   direct_hsm LIBRARY TOKEN-LABEL PIN-FILE THREADS SECONDS BYTES CALLS
// Each thread has a session, and makes rounds of CALLS encryptions of BYTES bytes by AES-ECB under
// one key that is made for the run. Prints the rounds of all threads in a second.
#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "pkcs11/access.h"
#include "pkcs11/keys.h"
#include "pkcs11/library.h"

namespace {

using namespace kms;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "direct_hsm: %s\n", why.c_str());
  std::exit(1);
}

void need(CK_RV rv, const char* function) {
  if (rv != CKR_OK) fail(pkcs11::call_text(function, rv));
}

std::int64_t number(const char* text) {
  std::int64_t n = 0;
  const char* end = text + std::strlen(text);
  if (std::from_chars(text, end, n).ptr != end || n <= 0) fail(std::string("no number: ") + text);
  return n;
}

struct Work {
  std::size_t bytes;
  std::int64_t calls;
  std::int64_t end_ms = 0;
  std::atomic<std::int64_t> rounds{0};
};

void encrypt_until_the_end(const pkcs11::Session& session, CK_OBJECT_HANDLE key, Work& work) {
  std::vector<std::uint8_t> in(work.bytes, 7), out(work.bytes);
  std::int64_t rounds = 0;
  for (; steady_ms() < work.end_ms; ++rounds)
    for (std::int64_t i = 0; i < work.calls; ++i)
      need(pkcs11::encrypt_blocks(session, key, in.data(), in.size(), out.data()), "C_Encrypt");
  work.rounds += rounds;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) fail("LIBRARY TOKEN-LABEL PIN-FILE THREADS SECONDS BYTES CALLS");
  pkcs11::HsmOptions options;
  options.library = argv[1];
  options.token = std::string("pkcs11:token=") + argv[2];
  options.pin_file = argv[3];
  auto access = pkcs11::TokenAccess::read(options, *pkcs11::find_profile("generic"));
  if (!access.ok()) fail(access.error().message);
  auto library = pkcs11::Library::load(access->library);
  if (!library.ok()) fail(library.error().message);
  need(library->initialize(), "C_Initialize");
  pkcs11::Login login;
  const auto problem = pkcs11::log_in(*library, access->address, access->pin, login, argv[3]);
  if (!problem.text.empty()) fail(problem.text);
  const pkcs11::Session first{library->operator->(), login.session};
  pkcs11::KeyRef key{std::string(pkcs11::kKeyIdSize, 'b'), "direct", 128, {}};
  need(pkcs11::generate_key(first, key, false), "C_GenerateKey");
  CK_OBJECT_HANDLE handle = 0;
  need(pkcs11::find_key(first, key, handle), "C_FindObjects");
  Work work{static_cast<std::size_t>(number(argv[6])), number(argv[7])};
  const std::int64_t begin_ms = steady_ms();
  work.end_ms = begin_ms + 1000 * number(argv[5]);
  std::vector<std::thread> threads;
  for (std::int64_t i = number(argv[4]); i > 0; --i) {
    pkcs11::Session mine{library->operator->(), 0};
    need((*library)->C_OpenSession(login.slot, CKF_SERIAL_SESSION, nullptr, nullptr, &mine.handle),
         "C_OpenSession");
    threads.emplace_back([mine, handle, &work] { encrypt_until_the_end(mine, handle, work); });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%.1f\n", 1000.0 * static_cast<double>(work.rounds) /
                            static_cast<double>(steady_ms() - begin_ms));
  (*library)->C_Finalize(nullptr);
  return 0;
}
