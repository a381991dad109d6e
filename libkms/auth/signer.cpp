// SPDX-License-Identifier: Apache-2.0
#include "auth/signer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "auth/java_utf8.h"
#include "auth/signature.h"
#include "auth/text.h"

namespace kms {
namespace {

constexpr std::size_t kMaxSecretFile = 64 * 1024;

class FixedSigner final : public SignerSecrets {
 public:
  explicit FixedSigner(Secret secret) : secret_(std::move(secret)) {}
  Result<Sha256Mac> sign(std::string_view text) override {
    return hmac_sha256(secret_.view(), as_bytes(text));
  }
  bool verify(std::string_view text, std::string_view base64) override {
    return signature_matches(secret_.view(), text, base64);
  }

 private:
  const Secret secret_;
};

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

Error cannot_use(const std::string& path, const std::string& why) {
  return Error(ErrorKind::configuration, "hadoop.kms.authentication.signature.secret.file: " +
                                             printable(path, 1024) + ": " + why);
}

}  // namespace

std::unique_ptr<SignerSecrets> make_fixed_signer(Secret secret) {
  return std::make_unique<FixedSigner>(std::move(secret));
}

Result<Secret> read_signature_secret(const std::string& path) {
  // Not blocking: a FIFO of that name must not stop the start of the server.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat info {};
  if (file.fd < 0 || fstat(file.fd, &info) != 0)
    return cannot_use(path, std::generic_category().message(errno));
  if (!S_ISREG(info.st_mode)) return cannot_use(path, "not a regular file");

  Secret raw(kMaxSecretFile + 1);
  std::size_t size = 0;
  while (size < raw.size()) {
    const ssize_t n = read(file.fd, raw.data() + size, raw.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return cannot_use(path, std::generic_category().message(errno));
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size == 0) return cannot_use(path, "the file is empty");
  if (size > kMaxSecretFile) return cannot_use(path, "the file is larger than 64 KiB");
  return java_utf8(raw.view().first(size));
}

}  // namespace kms
