// SPDX-License-Identifier: Apache-2.0
#include "audit/config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "audit/chain.h"
#include "audit/writers.h"
#include "core/file_io.h"

namespace kms {
namespace {

using Kind = AuditTarget::Kind;

struct Facility {
  std::string_view name;
  int number;
};
constexpr Facility kFacilities[] = {
    {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"daemon", LOG_DAEMON},
    {"user", LOG_USER},     {"local0", LOG_LOCAL0},     {"local1", LOG_LOCAL1},
    {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},     {"local4", LOG_LOCAL4},
    {"local5", LOG_LOCAL5}, {"local6", LOG_LOCAL6},     {"local7", LOG_LOCAL7},
};

// The parts between colons; the last one keeps the colons that are left.
std::vector<std::string> parts_of(std::string_view text, std::size_t most) {
  std::vector<std::string> parts;
  while (parts.size() + 1 < most) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, colon));
    text.remove_prefix(colon + 1);
  }
  parts.emplace_back(text);
  return parts;
}

Error unusable(const std::string& why) {
  return Error(ErrorKind::configuration, why);
}

Result<void> check_words(const AuditTarget& target) {
  for (const char c : target.identifier)
    if (c <= ' ' || c > '~' || c == '[' || c == ']' || c == ':')
      return unusable("the name '" + target.identifier + "' has other than letters and digits");
  if (!target.where.starts_with('/') || target.where.size() > 100)
    return unusable("'" + target.where + "' is not the absolute path of a socket");
  return {};
}

Result<AuditTarget> parse_syslog(std::string_view text) {
  const std::vector<std::string> parts = parts_of(text, 4);
  auto part = [&](std::size_t i, const char* otherwise) {
    return i < parts.size() && !parts[i].empty() ? parts[i] : std::string(otherwise);
  };
  AuditTarget target;
  target.kind = Kind::syslog;
  const std::string facility = part(1, "authpriv");
  target.identifier = part(2, "kms-audit");
  target.where = part(3, "/dev/log");
  target.name = "syslog:" + facility;
  KMS_TRY(check_words(target));
  for (const Facility& known : kFacilities) {
    if (known.name != facility) continue;
    target.facility = known.number;
    return target;
  }
  return unusable("'" + facility +
                  "' is no facility of syslog: auth, authpriv, daemon, user, local0 to local7");
}

Result<AuditTarget> parse_journal(std::string_view text) {
  const std::vector<std::string> parts = parts_of(text, 3);
  AuditTarget target;
  target.kind = Kind::journal;
  target.identifier = parts.size() > 1 && !parts[1].empty() ? parts[1] : "kms-audit";
  target.where = parts.size() > 2 && !parts[2].empty() ? parts[2] : "/run/systemd/journal/socket";
  target.name = "journal";
  KMS_TRY(check_words(target));
  return target;
}

bool names(std::string_view text, std::string_view word) {
  return text.starts_with(word) && (text.size() == word.size() || text[word.size()] == ':');
}

std::string strerror_text(int code) {
  return std::generic_category().message(code);
}

// How a file ends that is there already.
struct Tail {
  bool torn = false;     // in the middle of a line
  std::string chain_at;  // "ID:NUMBER:HASH" of its last chained line
};

Result<Tail> tail_of(const std::string& path) {
  constexpr off_t kMost = 256 * 1024;
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return io_error("read", path, errno);
  Tail tail;
  if (!S_ISREG(st.st_mode) || st.st_size == 0) return tail;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return io_error("read", path, errno);
  const off_t from = std::max<off_t>(0, st.st_size - kMost);
  std::string text(static_cast<std::size_t>(st.st_size - from), '\0');
  const ssize_t n = ::pread(fd.get(), text.data(), text.size(), from);
  if (n < 0) return io_error("read", path, errno);
  text.resize(static_cast<std::size_t>(n));
  tail.torn = !text.empty() && text.back() != '\n';
  std::string_view left(text);
  while (!left.empty()) {
    const std::size_t end = left.rfind('\n');
    const std::string_view line = end == std::string_view::npos ? left : left.substr(end + 1);
    left = left.substr(0, end == std::string_view::npos ? 0 : end);
    const auto mark = parse_chain_mark(line);
    if (!mark) continue;
    tail.chain_at.append(mark->id).append(":").append(std::to_string(mark->number));
    tail.chain_at.append(":").append(mark->hash);
    break;
  }
  return tail;
}

Result<Fd> open_file(const std::string& path, bool sync) {
  const bool is_new = ::access(path.c_str(), F_OK) != 0;
  Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  if (!fd.valid()) return Error(ErrorKind::configuration, strerror_text(errno));
  if (!sync) return fd;
  if (::fdatasync(fd.get()) != 0)
    return Error(ErrorKind::configuration,
                 "KMSAuditDurability fsync: it cannot be synced: " + strerror_text(errno));
  if (is_new) KMS_TRY(sync_path(directory_of(path)));
  return fd;
}

struct Opened {
  AuditWriterParts parts;
  std::string chain_at;
};

Result<void> add_chain(const AuditConfig& config, Opened& opened) {
  Secret key;
  if (!config.chain_key_file.empty()) {
    auto read = read_chain_key(config.chain_key_file);
    if (!read.ok()) return std::move(read).error();
    key = std::move(*read);
  }
  auto chain = AuditChain::create(opened.parts.state, config.format, std::move(key),
                                  std::move(opened.chain_at), config.chain_carried);
  if (!chain.ok()) return std::move(chain).error();
  opened.parts.chain = std::move(*chain);
  return {};
}

Result<std::unique_ptr<AuditWriter>> open_writer(const AuditConfig& config, Opened opened) {
  const bool sync = config.durability == AuditDurability::fsync;
  const AuditTarget& target = config.target;
  Fd file;
  if (target.kind == Kind::file) {
    auto fd = open_file(target.where, sync);
    if (!fd.ok()) return std::move(fd).error();
    file = std::move(*fd);
    if (auto tail = tail_of(target.where); tail.ok()) {
      (*opened.parts.state)->torn.store(tail->torn);
      opened.chain_at = std::move(tail->chain_at);
    } else if (config.chain) {
      return std::move(tail).error();
    }
  }
  if (config.chain) KMS_TRY(add_chain(config, opened));
  switch (target.kind) {
    case Kind::pipe:
      return make_pipe_writer(config.pipe_fd, sync, config.timeout_ms, std::move(opened.parts));
    case Kind::syslog:
      return make_syslog_writer(target.where, target.facility, target.identifier, config.timeout_ms,
                                std::move(opened.parts));
    case Kind::journal:
      return make_journal_writer(target.where, target.identifier, config.timeout_ms,
                                 std::move(opened.parts));
    case Kind::file:
      break;
  }
  return make_file_writer(std::move(file), target.where, sync, std::move(opened.parts));
}

}  // namespace

Result<AuditTarget> parse_audit_target(std::string_view text) {
  if (names(text, "syslog")) return parse_syslog(text);
  if (names(text, "journal")) return parse_journal(text);
  AuditTarget target;
  target.where = text;
  target.name = text;
  if (text.starts_with('|')) {
    target.kind = Kind::pipe;
    target.where = text.substr(1);
  }
  if (target.where.find_first_not_of(" |$") == std::string::npos)
    return unusable("'" + std::string(text) + "' names no file and no program");
  return target;
}

std::vector<std::string> check_audit_config(const AuditConfig& config, bool look) {
  std::vector<std::string> problems;
  const Kind kind = config.target.kind;
  const bool socket = kind == Kind::syslog || kind == Kind::journal;
  if (socket && config.durability == AuditDurability::fsync)
    problems.push_back("KMSAuditDurability fsync needs a file or a program: whether the " +
                       config.target.name + " has stored a line cannot be told");
  if (config.chain && socket)
    problems.push_back("KMSAuditChain needs a file or a program: the " + config.target.name +
                       " may leave out or reorder lines");
  if (config.chain && config.durability == AuditDurability::none)
    problems.push_back(
        "KMSAuditChain needs KMSAuditDurability write or fsync: with none, lines may "
        "be lost");
  if (!config.chain && !config.chain_key_file.empty())
    problems.push_back("KMSAuditChainKeyFile is of no use without KMSAuditChain On");
  if (config.chain && !config.chain_key_file.empty())
    if (auto key = read_chain_key(config.chain_key_file); !key.ok())
      problems.push_back(key.error().message);
  if (look && kind == Kind::file) {
    const std::string folder = directory_of(config.target.where);
    struct stat st;
    if (::stat(folder.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
      problems.push_back("KMSAuditLog: there is no folder " + folder);
  }
  if (look && socket && ::access(config.target.where.c_str(), F_OK) != 0)
    problems.push_back("KMSAuditLog: there is no socket " + config.target.where);
  return problems;
}

Result<std::unique_ptr<AuditLog>> open_audit_log(const AuditConfig& config, Logger& logger) {
  auto state = SharedAuditState::create();
  if (!state.ok()) return std::move(state).error();
  Opened opened;
  opened.parts.name = config.target.name;
  opened.parts.state = *state;
  opened.parts.logger = &logger;
  auto writer = open_writer(config, std::move(opened));
  if (!writer.ok()) return std::move(writer).error();
  AuditLog::Options options;
  options.format = config.format;
  options.window_ms = config.window_ms;
  options.buffered = config.durability == AuditDurability::none;
  options.logger = &logger;
  options.timed = config.timed;
  auto log = std::make_unique<AuditLog>(std::move(*writer), options, std::move(*state));
  log->begin();
  return log;
}

Result<Secret> read_chain_key(const std::string& path) {
  auto fail = [&](const std::string& why) {
    return Error(ErrorKind::configuration, "KMSAuditChainKeyFile: " + path + " " + why);
  };
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st;
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0)
    return fail("cannot be read: " + strerror_text(errno));
  if (!S_ISREG(st.st_mode)) return fail("is not a file");
  if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0) return fail("is open to everybody: chmod o-rw");
  if (st.st_size < 16 || st.st_size > 64 * 1024) return fail("has not 16 bytes to 64 KiB");
  Secret key(static_cast<std::size_t>(st.st_size));
  if (::pread(fd.get(), key.data(), key.size(), 0) != static_cast<ssize_t>(key.size()))
    return fail("cannot be read");
  return key;
}

}  // namespace kms
