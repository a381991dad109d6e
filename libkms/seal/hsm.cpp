// SPDX-License-Identifier: Apache-2.0
#include "seal/hsm.h"

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>

#include "core/file_io.h"
#include "core/hex.h"
#include "crypto/random.h"
#include "hadoop/wire_json.h"
#include "pkcs11/access.h"
#include "pkcs11/apart.h"
#include "seal/aead.h"
#include "seal/xaes.h"

namespace kms::seal {
namespace {

using pkcs11::KeyRef;
using pkcs11::Session;
using KeyRefPtr = std::shared_ptr<const KeyRef>;

constexpr std::size_t kIdDigits = 16;

Error configuration(std::string text) {
  return Error(ErrorKind::configuration, std::move(text));
}

HsmKey remembered(const KeyRef& key) {
  const std::string id = hex_text(key.id);
  const hadoop::JsonPtr object(json_object());
  hadoop::set_text(object.get(), "id", id);
  hadoop::set_text(object.get(), "label", key.label);
  hadoop::set_text(object.get(), "check", hex_text(key.check));
  const std::unique_ptr<char, decltype(&std::free)> text(
      json_dumps(object.get(), JSON_COMPACT | JSON_SORT_KEYS), &std::free);
  return {"hsm-" + id.substr(id.size() - kIdDigits), text != nullptr ? text.get() : std::string()};
}

std::optional<KeyRef> parse(const std::string& parameters) {
  const hadoop::JsonPtr object(json_loadb(parameters.data(), parameters.size(), 0, nullptr));
  const auto text = [&](const char* name) {
    const json_t* value = json_object_get(object.get(), name);
    return json_is_string(value) ? std::string(hadoop::text_of(value)) : std::string();
  };
  const auto id = unhex(text("id")), check = unhex(text("check"));
  KeyRef key{id.value_or(""), text("label"), 256, {}};
  if (key.id.size() != pkcs11::kKeyIdSize || key.label.empty() || !check ||
      check->size() != pkcs11::kCheckSize)
    return std::nullopt;
  key.check.assign(check->begin(), check->end());
  return key;
}

// The token as keys see it: not there before start().
struct Connected {
  std::mutex mutex;
  std::shared_ptr<pkcs11::Token> token;
  std::shared_ptr<pkcs11::Token> get() {
    const std::lock_guard hold(mutex);
    return token;
  }
};

// XAES-256-GCM, the block encryptions in the token, GCM under the derived key here. The wrapped
// form: 12 bytes of nonce, then what aead_seal() makes.
class TokenKey final : public SealingKey {
 public:
  TokenKey(std::shared_ptr<Connected> connected, KeyRefPtr key)
      : id_(remembered(*key).id), connected_(std::move(connected)), key_(std::move(key)) {}

  const std::string& id() const override { return id_; }

  Result<Bytes> wrap(const Secret& data_key, ByteView bound) override {
    Bytes out(kXaesNonceSize);
    KMS_TRY(fill_public(out));
    auto key = derive(out);
    if (!key.ok()) return std::move(key).error();
    auto sealed = aead_seal(key->view(), bound, data_key.view());
    if (!sealed.ok()) return sealed;
    out.insert(out.end(), sealed->begin(), sealed->end());
    return out;
  }

  Result<Secret> unwrap(ByteView wrapped, ByteView bound) override {
    if (wrapped.size() < kXaesNonceSize)
      return Error(ErrorKind::corrupt, "it does not fit its seal");
    auto key = derive(wrapped.first(kXaesNonceSize));
    if (!key.ok()) return std::move(key).error();
    return aead_open(key->view(), bound, wrapped.subspan(kXaesNonceSize));
  }

 private:
  Result<Secret> encrypt(ByteView blocks) const {
    const auto token = connected_->get();
    if (token == nullptr)
      return Error(ErrorKind::unavailable, "The HSM cannot serve now: it is not connected to");
    auto done = token->encrypt(key_, blocks);
    // The key itself is not there: a matter of the token, not of the row.
    if (!done.ok() && done.error().kind == ErrorKind::corrupt) {
      Error error(ErrorKind::unavailable, "The sealing key " + id_ + ": " + done.error().message);
      error.retry_after_s = 2;
      return error;
    }
    return done;
  }

  Result<Secret> derive(ByteView nonce) {
    auto first = encrypt_zeros();
    if (!first.ok()) return std::move(first).error();
    return encrypt(xaes_blocks(*first, nonce));
  }

  Result<Bytes> encrypt_zeros() {
    {
      const std::lock_guard hold(mutex_);
      if (!first_.empty()) return first_;
    }
    auto block = encrypt(Bytes(pkcs11::kBlock, 0));
    if (!block.ok()) return std::move(block).error();
    const std::lock_guard hold(mutex_);
    first_.assign(block->view().begin(), block->view().end());
    return first_;
  }

  const std::string id_;
  const std::shared_ptr<Connected> connected_;
  const KeyRefPtr key_;
  std::mutex mutex_;
  Bytes first_;
};

// The one key of the label, as the library finds it.
Result<std::optional<KeyRef>> find_label(const Session& session, const std::string& label) {
  std::vector<pkcs11::TokenKey> all;
  if (const CK_RV rv = pkcs11::list_keys(session, all); rv != CKR_OK)
    return configuration(pkcs11::call_text("C_FindObjects", rv));
  std::erase_if(all, [&](const pkcs11::TokenKey& each) { return each.label != label; });
  if (all.empty()) return std::optional<KeyRef>();
  if (all.size() > 1)
    return configuration("the token has more than one AES key with the label " + label);
  if (all[0].bits != 256 || all[0].id.size() != pkcs11::kKeyIdSize)
    return configuration("the key " + label + " of the token was not made by 'kmsctl seal setup'");
  return std::optional<KeyRef>(KeyRef{all[0].id, label, 256, {}});
}

// That nobody has ever had it outside.
Result<void> stays_inside(const Session& session, const KeyRef& key) {
  bool inside = false;
  if (const CK_RV rv = pkcs11::never_outside(session, key.id, inside); rv != CKR_OK)
    return configuration(pkcs11::call_text("C_GetAttributeValue", rv));
  if (inside) return {};
  return configuration("the key " + key.label +
                       " can leave the token, or was brought in from outside");
}

Result<std::string> look_for(const Session& session, const std::string& label, bool make,
                             bool& made) {
  auto found = find_label(session, label);
  if (!found.ok()) return std::move(found).error();
  KeyRef key{{}, label, 256, {}};
  made = !found->has_value();
  if (found->has_value()) {
    key = **found;
    if (const CK_RV rv = pkcs11::read_check(session, key); rv != CKR_OK)
      return configuration(pkcs11::call_text("C_Encrypt", rv));
  } else if (!make) {
    return configuration("the token has no key " + label + ": run 'kmsctl seal setup'");
  } else {
    Bytes id(pkcs11::kKeyIdSize);
    KMS_TRY(fill_public(id));
    key.id = as_text(id);
    if (const CK_RV rv = pkcs11::generate_key(session, key); rv != CKR_OK)
      return configuration(pkcs11::call_text("C_GenerateKey", rv));
  }
  KMS_TRY(stays_inside(session, key));
  return (made ? "1" : "0") + remembered(key).parameters;
}

class TokenHsm final : public Hsm {
 public:
  TokenHsm(pkcs11::TokenAccess access, std::shared_ptr<pkcs11::Token> token)
      : access_(std::move(access)), borrowed_(token != nullptr) {
    connected_->token = std::move(token);
  }
  ~TokenHsm() override { stop(); }

  Result<HsmKey> make(const std::string& label, const pkcs11::ServingUser& user,
                      bool& made) override {
    return ask(label, user, true, made);
  }
  Result<HsmKey> look(const std::string& label, const pkcs11::ServingUser& user) override {
    bool made = false;
    return ask(label, user, false, made);
  }

  Result<void> prove(const std::string& parameters, const pkcs11::ServingUser& user) override {
    const auto key = parse(parameters);
    if (!key) return bad_record();
    auto done = pkcs11::work_apart(access_, user, [&](const Session& s) -> Result<std::string> {
      CK_OBJECT_HANDLE object = 0;
      if (const CK_RV rv = pkcs11::find_key(s, *key, object); rv != CKR_OK)
        return configuration("the sealing key " + key->label + ": " +
                             pkcs11::call_text("C_FindObjects", rv));
      KMS_TRY(stays_inside(s, *key));
      return std::string();
    });
    if (!done.ok()) return std::move(done).error();
    return {};
  }

  void start(Logger& logger) override {
    if (const auto token = connected_->get(); token != nullptr) return token->start();
    access_.set_environment();
    auto token = std::make_shared<pkcs11::Token>(access_.options, access_.address,
                                                 access_.pin.clone(), logger, pin_guard_);
    token->start();
    const std::lock_guard hold(connected_->mutex);
    connected_->token = std::move(token);
  }
  void stop() noexcept override {
    if (const auto token = connected_->get(); token != nullptr && !borrowed_) token->stop();
  }
  bool ready() const noexcept override {
    const auto token = connected_->get();
    return token != nullptr && token->ready();
  }
  Health condition() const noexcept override {
    const auto token = connected_->get();
    if (token == nullptr) return {HealthState::failing, 0, "the HSM is not connected to"};
    return token->condition();
  }

  Result<std::unique_ptr<SealingKey>> key(const std::string& parameters) override {
    auto key = parse(parameters);
    if (!key) return bad_record();
    return std::unique_ptr<SealingKey>(
        std::make_unique<TokenKey>(connected_, std::make_shared<const KeyRef>(std::move(*key))));
  }

 private:
  static Error bad_record() {
    return Error(ErrorKind::corrupt, "what the store remembers of a key in an HSM is damaged");
  }

  Result<HsmKey> ask(const std::string& label, const pkcs11::ServingUser& user, bool make,
                     bool& made) {
    auto told = pkcs11::work_apart(access_, user, [&](const Session& session) {
      bool fresh = false;
      return look_for(session, label, make, fresh);
    });
    if (!told.ok()) return std::move(told).error();
    made = told->starts_with('1');
    const auto key = parse(told->substr(1));
    if (!key) return Error(ErrorKind::internal, "the look into the token told nothing");
    return remembered(*key);
  }

  const pkcs11::TokenAccess access_;
  const bool borrowed_;
  const std::shared_ptr<pkcs11::PinGuard> pin_guard_ = std::make_shared<pkcs11::PinGuard>();
  const std::shared_ptr<Connected> connected_ = std::make_shared<Connected>();
};

}  // namespace

std::string Hsm::label_of(const std::string& parameters) {
  const auto key = parse(parameters);
  return key ? key->label : std::string();
}

Result<std::unique_ptr<Hsm>> Hsm::open(const pkcs11::HsmOptions& options, const std::string& name,
                                       std::shared_ptr<pkcs11::Token> token) {
  const pkcs11::Profile* profile = pkcs11::find_profile(name);
  if (profile == nullptr)
    return configuration("hadoop.kms.trustee.seal.hsm.profile value '" + name +
                         "' is unknown; allowed are thales, luna, generic");
  auto access = pkcs11::TokenAccess::read(options, *profile);
  if (!access.ok()) return std::move(access).error();
  return std::unique_ptr<Hsm>(std::make_unique<TokenHsm>(std::move(*access), std::move(token)));
}

}  // namespace kms::seal
