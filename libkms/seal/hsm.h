// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "core/health.h"
#include "core/log.h"
#include "core/result.h"
#include "pkcs11/options.h"
#include "seal/sealing_key.h"

namespace kms::pkcs11 {
class Token;
}

namespace kms::seal {

// A key in a token as a store remembers it.
struct HsmKey {
  std::string id;          // "hsm-" and half of its CKA_ID
  std::string parameters;  // JSON: CKA_ID, label, the beginning of the encryption of zeros
};

// The token that holds sealing keys. They are made in it and never leave it. The library is loaded
// by start() only, so a process that has not called it may fork. Thread-safe after start().
class Hsm {
 public:
  // Reads the PIN. token: one of these options that the process has already, as it has one login;
  // start() starts it, its owner stops it. Errors (configuration): the properties hadoop.kms.hsm.*,
  // an unknown profile, or a build without PKCS#11.
  static Result<std::unique_ptr<Hsm>> open(const pkcs11::HsmOptions& options,
                                           const std::string& profile,
                                           std::shared_ptr<pkcs11::Token> token = nullptr);
  virtual ~Hsm() = default;

  // Each in a process of its own, which becomes user. Errors: configuration.
  // Makes an AES-256 key of this label; gives one that is there already, made says which.
  virtual Result<HsmKey> make(const std::string& label, const pkcs11::ServingUser& user,
                              bool& made) = 0;
  virtual Result<HsmKey> look(const std::string& label, const pkcs11::ServingUser& user) = 0;
  // That the key of these parameters is there, stays inside and encrypts.
  virtual Result<void> prove(const std::string& parameters, const pkcs11::ServingUser& user) = 0;

  // Connects, on threads of its own, until stop(); once. Waits for the token at most the timeout.
  // logger must live until stop() has returned.
  virtual void start(Logger& logger) = 0;
  virtual void stop() noexcept = 0;
  virtual bool ready() const noexcept = 0;  // any thread
  virtual Health condition() const noexcept = 0;

  // The key of these parameters; no call of the token. wrap and unwrap are unavailable before
  // start(), and while the token is lost.
  virtual Result<std::unique_ptr<SealingKey>> key(const std::string& parameters) = 0;
  // Label in the parameters; empty: they are none.
  static std::string label_of(const std::string& parameters);
};

}  // namespace kms::seal
