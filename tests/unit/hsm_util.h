// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "jceks_util.h"
#include "keystore/pkcs11/metadata.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "pkcs11/library.h"

namespace unit {

// Where the distributions put SoftHSM; empty: it is not there.
inline std::string softhsm_library() {
  for (const char* path : {"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so",
                           "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/lib64/libsofthsm2.so"})
    if (exists(path)) return path;
  return {};
}

inline void require_softhsm() {
  if (softhsm_library().empty()) skip();
}

inline void run_or_fail(const std::string& command) {
  if (std::system((command + " >/dev/null 2>&1").c_str()) != 0) _fail(command.c_str(), 0);
}

template <class F>
bool eventually(F&& condition, int seconds = 20) {
  for (int i = 0; i < seconds * 100; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

// A SoftHSM token in a folder of its own, which is that of this process from then on; the PIN in a
// file; a folder of faults for hsm_fault.so.
class Hsm {
 public:
  Hsm() : library(softhsm_library()) {
    const std::string tokens = dir.path("tokens");
    ::mkdir(tokens.c_str(), 0700);
    ::mkdir(dir.path("faults").c_str(), 0700);
    dir.write("softhsm2.conf", "directories.tokendir = " + tokens +
                                   "\nobjectstore.backend = file\nlog.level = ERROR\n");
    ::setenv("SOFTHSM2_CONF", dir.path("softhsm2.conf").c_str(), 1);
    ::setenv("KMS_TEST_HSM_LIBRARY", library.c_str(), 1);
    ::setenv("KMS_TEST_HSM_FAULTS", dir.path("faults").c_str(), 1);
    run_or_fail("softhsm2-util --init-token --free --label kms --pin 1234 --so-pin 567890");
    set_pin("1234");
  }
  void set_pin(const std::string& pin) {
    dir.write("pin", pin + "\n");
    ::chmod(dir.path("pin").c_str(), 0600);
  }
  kms::pkcs11::StoreOptions options() const {
    kms::pkcs11::StoreOptions out;
    out.uri = "hsm://generic@" + dir.path("kms.hsm");
    out.hsm.token = "pkcs11:token=kms";
    out.hsm.library = library;
    out.hsm.pin_file = dir.path("pin");
    out.hsm.timeout_ms = 5000;
    return out;
  }
  std::unique_ptr<kms::KeyStore> open(Log& log) const { return open(log, options()); }
  static std::unique_ptr<kms::KeyStore> open(Log& log, kms::pkcs11::StoreOptions options) {
    auto store = kms::pkcs11::open_store(std::move(options), log, false);
    if (!store.ok()) _fail(store.error().message.c_str(), 0);
    if (auto attached = (*store)->attach(); !attached.ok())
      _fail(attached.error().message.c_str(), 0);
    return std::move(*store);
  }
  void fault(const std::string& name, const std::string& text = {}) const {
    dir.write("faults/." + name, text);
    std::filesystem::rename(dir.path("faults/." + name), dir.path("faults/" + name));
  }
  void heal(const std::string& name) const { ::unlink(dir.path("faults/" + name).c_str()); }
  std::size_t calls() const {
    struct stat st {};
    return ::stat(dir.path("faults/calls").c_str(), &st) == 0 ? static_cast<std::size_t>(st.st_size)
                                                              : 0;
  }

  TempDir dir;
  std::string library;
};

inline kms::KeyOptions aes_key(int bits = 128) {
  return aes(bits);
}

template <class T>
void assert_kind(const kms::Result<T>& result, kms::ErrorKind kind, std::string_view part = {}) {
  if (result.ok()) _fail("no error", 0);
  const kms::Error& error = const_cast<kms::Result<T>&>(result).error();
  if (error.kind != kind) print_error("%s\n", error.message.c_str());
  assert_int_equal(static_cast<int>(error.kind), static_cast<int>(kind));
  assert_contains(error.message, part);
}

template <class T>
T need(kms::Result<T> result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
  return std::move(*result);
}
inline void need(kms::Result<void> result) {
  if (!result.ok()) _fail(result.error().message.c_str(), 0);
}

}  // namespace unit
