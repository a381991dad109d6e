// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "jceks_util.h"
#include "keystore/pkcs11/metadata.h"
#include "keystore/pkcs11/pkcs11_store.h"
#include "p11_server.h"
#include "pkcs11/address.h"
#include "pkcs11/keys.h"
#include "pkcs11/library.h"

namespace unit {

inline void run_or_fail(const std::string& command) {
  if (std::system((command + " >/dev/null 2>&1").c_str()) != 0) _fail(command.c_str(), 0);
}

// What a command says; a test fails that a command fails in.
inline std::string output_of(const std::string& command) {
  FILE* from = ::popen(command.c_str(), "r");
  if (from == nullptr) _fail(command.c_str(), 0);
  std::string out;
  for (int c = 0; (c = std::fgetc(from)) != EOF;) out += static_cast<char>(c);
  if (::pclose(from) != 0) _fail(command.c_str(), 0);
  return out;
}

// Which of the tokens of tests/tokens/token: KMS_TEST_TOKEN, else SoftHSM.
inline std::string token_kind() {
  const char* kind = std::getenv("KMS_TEST_TOKEN");
  return kind != nullptr && *kind != '\0' ? kind : "softhsm";
}

// Skips the test where the token is not to be had, and fails it where somebody asked for it.
inline void require_token(const std::string& kind = token_kind()) {
  const std::string missing = output_of(TOKEN_TOOL " missing " + kind);
  if (missing.size() <= 1) return;
  if (std::getenv("KMS_TEST_TOKEN") != nullptr) _fail(("missing: " + missing).c_str(), 0);
  skip();
}

// A thread that has left a token may still be giving back memory of libc's when main() returns,
// which a leak checker would take for lost.
struct LastMoment {
  ~LastMoment() { std::this_thread::sleep_for(std::chrono::milliseconds(100)); }
};
inline const LastMoment last_moment;

// A token in a folder of its own, which is that of this process from then on; p11-kit's server of
// it where it is remote; the PIN in a file; a folder of faults for hsm_fault.so.
class Hsm {
 public:
  explicit Hsm(const std::string& of_kind = token_kind()) : kind(of_kind) {
    ::mkdir(dir.path("faults").c_str(), 0700);
    std::istringstream said(
        output_of(TOKEN_TOOL " new " + kind + " " + dir.path() + " 1234 2>" + dir.path("made")));
    std::string word, value, served;
    while (said >> word && std::getline(said >> std::ws, value)) {
      if (word == "library") library = value;
      if (word == "label") label = value;
      if (word == "server") served = value;
      if (word != "env") continue;
      const std::size_t equals = value.find('=');
      ::setenv(value.substr(0, equals).c_str(), value.substr(equals + 1).c_str(), 1);
    }
    ::setenv("KMS_TEST_HSM_LIBRARY", library.c_str(), 1);
    ::setenv("KMS_TEST_HSM_FAULTS", dir.path("faults").c_str(), 1);
    set_pin("1234");
    if (!served.empty()) server = std::make_unique<P11Server>(dir.path("socket"), served);
  }
  std::string address() const { return "pkcs11:token=" + label; }
  // pkcs11-tool, logged in.
  void tool(const std::string& words) const {
    run_or_fail("pkcs11-tool --module " + library + " --token-label " + label +
                " --login --pin 1234 " + words);
  }
  void set_pin(const std::string& pin) {
    dir.write("pin", pin + "\n");
    ::chmod(dir.path("pin").c_str(), 0600);
  }
  kms::pkcs11::StoreOptions options() const {
    kms::pkcs11::StoreOptions out;
    out.uri = "hsm://generic@" + dir.path("kms.hsm");
    out.hsm.token = address();
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

  const std::string kind;
  TempDir dir;
  std::string library, label;
  std::unique_ptr<P11Server> server;
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

// A session in the library of this process beside those of its store.
class Aside {
 public:
  explicit Aside(const Hsm& hsm) : library_(need(kms::pkcs11::Library::load(hsm.library))) {
    // p11-kit's client begins anew for everybody who asks it for its functions.
    assert_int_equal(library_.initialize(), CKR_OK);
    const kms::Secret pin(std::string_view("1234"));
    const auto problem = kms::pkcs11::log_in(
        library_, need(kms::pkcs11::TokenAddress::parse(hsm.address())), pin, login_);
    assert_text(problem.text, "");
  }
  ~Aside() { library_->C_CloseSession(login_.session); }
  kms::pkcs11::Session session() const { return {library_.operator->(), login_.session}; }
  // SoftHSM takes it for all that is new in the token.
  void change() const {
    kms::pkcs11::KeyRef key{"somebody's", "somebody's", 128, {}};
    assert_int_equal(kms::pkcs11::generate_key(session(), key), CKR_OK);
  }

 private:
  kms::pkcs11::Library library_;
  kms::pkcs11::Login login_;
};

}  // namespace unit
