// SPDX-License-Identifier: Apache-2.0
#include "keystore/pkcs11/login_check.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "core/clock.h"
#include "core/file_io.h"
#include "crypto/random.h"
#include "keystore/pkcs11/keys.h"
#include "keystore/pkcs11/library.h"

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

// What is wrong; empty: nothing.
std::string use_token(const TokenAddress& address, const std::string& path, const Secret& pin) {
  auto library = Library::load(path);
  if (!library.ok()) return library.error().message;
  if (const CK_RV rv = library->initialize(); rv != CKR_OK)
    return path + ": " + call_text("C_Initialize", rv);
  Login login;
  std::string wrong = log_in(*library, address, pin, login).text;
  if (wrong.empty()) {
    const Session session{library->operator->(), login.session};
    KeyRef key{std::string(kKeyIdSize, '\0'), "kms-trial", 256, {}};
    (void)fill_public({reinterpret_cast<std::uint8_t*>(key.id.data()), key.id.size()}).ok();
    if (const CK_RV rv = generate_key(session, key, false); rv != CKR_OK)
      wrong = "no AES key can be made and used: " + call_text("C_GenerateKey", rv);
  }
  (*library)->C_Finalize(nullptr);
  return wrong;
}

std::string become(const StoreOptions& options) {
  if (options.owner_uid == static_cast<uid_t>(-1) || ::geteuid() != 0) return {};
  if (::initgroups(options.user_name.c_str(), options.owner_gid) == 0 &&
      ::setgid(options.owner_gid) == 0 && ::setuid(options.owner_uid) == 0)
    return {};
  return "the check cannot become user " + options.user_name;
}

void tell(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// All that the process says until it ends; nullopt: it did not end in time.
std::optional<std::string> listen(int fd, std::int64_t timeout_ms) {
  std::string said;
  const std::int64_t deadline = steady_ms() + timeout_ms;
  for (;;) {
    struct pollfd wait {
      fd, POLLIN, 0
    };
    const std::int64_t left = deadline - steady_ms();
    if (left <= 0) return std::nullopt;
    const int ready = ::poll(&wait, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return std::nullopt;
    char part[512];
    const ssize_t n = ::read(fd, part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return said;
    said.append(part, static_cast<std::size_t>(n));
  }
}

}  // namespace

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

void set_environment(const Profile& profile) {
  for (const Profile::Variable& variable : profile.environment)
    ::setenv(variable.name, variable.value, 0);
}

Result<void> try_login(const StoreOptions& options, const Profile& profile,
                       const TokenAddress& address, const std::string& library, const Secret& pin) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error("make", "a pipe", errno);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return io_error("start", "the check of the HSM", errno);
  if (child == 0) {
    ::signal(SIGPIPE, SIG_IGN);
    set_environment(profile);
    std::string wrong = become(options);
    if (wrong.empty()) wrong = use_token(address, library, pin);
    tell(to.get(), wrong.empty() ? std::string("good") : "bad " + wrong);
    ::_exit(0);
  }
  to = Fd();
  const std::int64_t timeout_ms = 3 * options.hsm.timeout_ms;
  const auto said = listen(from.get(), timeout_ms);
  if (!said) ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!said)
    return configuration("the HSM's library " + library + " did not come back within " +
                         std::to_string(timeout_ms) + " ms");
  if (*said == "good") return {};
  if (said->empty()) return configuration("the HSM's library " + library + " crashed");
  return configuration("the HSM cannot be used: " + said->substr(4));
}

}  // namespace kms::pkcs11
