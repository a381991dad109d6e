// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/access.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "core/file_io.h"

namespace kms::pkcs11 {
namespace {

constexpr std::size_t kLongestPin = 4096;

Error configuration(std::string text) {
  return Error(ErrorKind::configuration, std::move(text));
}

std::string pin_file(const HsmOptions& options) {
  if (!options.pin_file.empty()) return options.pin_file;
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  return credentials != nullptr ? std::string(credentials) + "/hsm-pin" : std::string();
}

Result<Secret> read_pin(const HsmOptions& options) {
  const std::string path = pin_file(options);
  if (path.empty())
    return configuration("hadoop.kms.hsm.pin-file is not set, and there is no credential hsm-pin");
  const auto wrong = [&](const std::string& why) {
    return configuration("the file of the HSM's PIN, " + path + ", " + why);
  };
  if (path.front() != '/') return wrong("is no absolute path");
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info;
  if (!file.valid() || ::fstat(file.get(), &info) != 0) return wrong("cannot be read");
  if (!S_ISREG(info.st_mode)) return wrong("is no regular file");
  if ((info.st_mode & (S_IRWXO | S_IWGRP)) != 0)
    return wrong("may be read or changed by others: its mode has to be 0600, 0400 or 0440");
  Secret raw(kLongestPin + 1);
  std::size_t size = 0;
  while (size < raw.size()) {
    const ssize_t n = ::read(file.get(), raw.data() + size, raw.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return wrong("cannot be read");
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size > kLongestPin) return wrong("is over 4 KiB");
  ByteView text = raw.view().first(size);
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r'))
    text = text.first(text.size() - 1);
  if (text.empty()) return wrong("is empty");
  return Secret(text);
}

Result<std::string> library_path(const HsmOptions& options, const Profile& profile) {
  if (!options.library.empty()) return options.library;
  if (!profile.library.empty()) return std::string(profile.library);
  return configuration("hadoop.kms.hsm.library is not set, and the profile " +
                       std::string(profile.name) + " has none of its own");
}

Result<TokenAddress> token_address(const HsmOptions& options) {
  if (options.token.empty()) return configuration("hadoop.kms.hsm.token is not set");
  auto parsed = TokenAddress::parse(options.token);
  if (!parsed.ok()) return configuration("hadoop.kms.hsm.token: " + parsed.error().message);
  return parsed;
}

}  // namespace

Result<TokenAccess> TokenAccess::read(const HsmOptions& options, const Profile& profile) {
  auto address = token_address(options);
  if (!address.ok()) return std::move(address).error();
  auto library = library_path(options, profile);
  if (!library.ok()) return std::move(library).error();
  auto pin = read_pin(options);
  if (!pin.ok()) return std::move(pin).error();
  TokenOptions token;
  token.library = *library;
  token.pin_file = pin_file(options);
  token.timeout_ms = options.timeout_ms;
  token.sessions = options.sessions;
  token.batch_bytes = options.batch_bytes / static_cast<std::int64_t>(kBlock) * kBlock;
  return TokenAccess{&profile, std::move(*address), std::move(*library), std::move(*pin),
                     std::move(token)};
}

void TokenAccess::set_environment() const {
  for (const Profile::Variable& variable : profile->environment)
    ::setenv(variable.name, variable.value, 0);
}

}  // namespace kms::pkcs11
