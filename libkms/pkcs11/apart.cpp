// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/apart.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "core/clock.h"
#include "core/file_io.h"
#include "crypto/random.h"
#include "pkcs11/keys.h"

namespace kms::pkcs11 {
namespace {

constexpr std::string_view kGood = "good ", kBad = "bad ";
constexpr std::int64_t kLookAgainMs = 1000;
constexpr std::chrono::milliseconds kBetweenTries{200};

Error configuration(std::string text) {
  return Error(ErrorKind::configuration, std::move(text));
}

Result<std::string> use_token(const TokenAccess& access, const ApartWork& work) {
  auto library = Library::load(access.library);
  if (!library.ok()) return std::move(library).error();
  Login login;
  const LoginProblem problem = enter_token(*library, access, login);
  if (!problem.text.empty()) return configuration(problem.text);
  Result<std::string> done = work(Session{library->operator->(), login.session});
  (*library)->C_Finalize(nullptr);
  return done;
}

Result<std::string> make_trial_key(const Session& session) {
  KeyRef key{std::string(kKeyIdSize, '\0'), "kms-trial", 256, {}};
  KMS_TRY(fill_public({reinterpret_cast<std::uint8_t*>(key.id.data()), key.id.size()}));
  if (const CK_RV rv = generate_key(session, key, false); rv != CKR_OK)
    return configuration("no AES key can be made and used: " + call_text("C_GenerateKey", rv));
  return std::string();
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

// In the new process, which ends here.
[[noreturn]] void work_and_tell(int to, const TokenAccess& access, const ServingUser& user,
                                const ApartWork& work) {
  ::signal(SIGPIPE, SIG_IGN);
  access.set_environment();
  const auto became = become(user);
  auto done = became.ok() ? use_token(access, work) : became.error();
  tell(to, done.ok() ? kGood : kBad);
  tell(to, done.ok() ? *done : done.error().message);
  ::_exit(0);
}

}  // namespace

LoginProblem enter_token(const Library& library, const TokenAccess& access, Login& login) {
  const std::int64_t end = steady_ms() + std::min(kLookAgainMs, access.options.timeout_ms);
  for (;;) {
    if (const CK_RV rv = library.initialize(); rv != CKR_OK)
      return {rv, access.library + ": " + call_text("C_Initialize", rv), false};
    LoginProblem problem =
        log_in(library, access.address, access.pin, login, access.options.pin_file);
    if (problem.text.empty()) return problem;
    library->C_Finalize(nullptr);
    if (problem.rv != CKR_TOKEN_NOT_PRESENT || steady_ms() > end) return problem;
    std::this_thread::sleep_for(kBetweenTries);
  }
}

Result<void> become(const ServingUser& user) {
  if (user.uid == static_cast<uid_t>(-1) || ::geteuid() != 0) return {};
  if (::initgroups(user.name.c_str(), user.gid) == 0 && ::setgid(user.gid) == 0 &&
      ::setuid(user.uid) == 0)
    return {};
  return configuration("this process cannot become user " + user.name);
}

Result<std::string> work_apart(const TokenAccess& access, const ServingUser& user,
                               const ApartWork& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return io_error("make", "a pipe", errno);
  const Fd from(ends[0]);
  Fd to(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return io_error("start", "the check of the HSM", errno);
  if (child == 0) work_and_tell(to.get(), access, user, work);
  to = Fd();
  const std::int64_t timeout_ms = 3 * access.options.timeout_ms;
  const auto said = listen(from.get(), timeout_ms);
  if (!said) ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!said)
    return configuration("the HSM's library " + access.library + " did not come back within " +
                         std::to_string(timeout_ms) + " ms");
  if (said->starts_with(kGood)) return said->substr(kGood.size());
  if (!said->starts_with(kBad))
    return configuration("the HSM's library " + access.library + " crashed");
  return configuration("the HSM cannot be used: " + said->substr(kBad.size()));
}

Result<void> try_login(const TokenAccess& access, const ServingUser& user) {
  auto done = work_apart(access, user, make_trial_key);
  if (!done.ok()) return std::move(done).error();
  return {};
}

}  // namespace kms::pkcs11
