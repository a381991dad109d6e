// SPDX-License-Identifier: Apache-2.0
#include "audit_program.h"

#include <ap_mpm.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>
#include <fcntl.h>
#include <http_main.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "core/clock.h"
#include "core/file_io.h"
#include "guard.h"

namespace kms {
namespace {

// A program that ends sooner is not started anew at once, but by the parent's next look.
constexpr std::int64_t kShortLifeMs = 10000;

class AuditProgram {
 public:
  AuditProgram(apr_pool_t* pconf, server_rec* server, const std::string& command)
      : pconf_(pconf), server_(server), command_(command) {}
  ~AuditProgram();

  apr_status_t start();
  void restart();
  void ended(int status);
  bool running() const { return running_; }
  server_rec* server() const { return server_; }
  int write_fd() const { return write_fd_.get(); }

 private:
  apr_status_t spawn(Fd read_fd);

  apr_pool_t* const pconf_;
  server_rec* const server_;
  const std::string command_;
  Fd write_fd_;
  apr_pool_t* spawn_pool_ = nullptr;  // of the present program
  apr_proc_t process_{};
  std::int64_t started_ms_ = 0;
  bool running_ = false;
};

// Those of the present configuration, in the parent.
std::vector<AuditProgram*>& programs() {
  static std::vector<AuditProgram*> all;
  return all;
}

bool is_stopping() {
  int state = 0;
  return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

// Called by the parent's loop when the process has ended, and when its pool goes.
void on_process(int reason, void* data, int status) {
  if (reason != APR_OC_REASON_DEATH && reason != APR_OC_REASON_LOST) return;
  auto* program = static_cast<AuditProgram*>(data);
  guarded(program->server(), 0, [&] {
    apr_proc_other_child_unregister(program);
    program->ended(status);
    return 0;
  });
}

AuditProgram::~AuditProgram() {
  std::erase(programs(), this);
}

apr_status_t AuditProgram::start() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return APR_FROM_OS_ERROR(errno);
  write_fd_ = Fd(ends[1]);
  programs().push_back(this);
  return spawn(Fd(ends[0]));
}

apr_status_t AuditProgram::spawn(Fd read_fd) {
  if (spawn_pool_ != nullptr) apr_pool_destroy(spawn_pool_);
  apr_pool_create(&spawn_pool_, pconf_);
  const bool shell = command_.starts_with('$');
  const char* line =
      apr_pstrdup(spawn_pool_, command_.c_str() + (shell || command_.starts_with('|') ? 1 : 0));
  apr_os_file_t os_file = read_fd.get();
  apr_file_t* input = nullptr;
  apr_procattr_t* attributes = nullptr;
  char** arguments = nullptr;
  apr_status_t rv = apr_os_file_put(&input, &os_file, APR_FOPEN_READ, spawn_pool_);
  if (rv == APR_SUCCESS) rv = apr_procattr_create(&attributes, spawn_pool_);
  if (rv == APR_SUCCESS) rv = apr_procattr_dir_set(attributes, ap_server_root);
  if (rv == APR_SUCCESS)
    rv = apr_procattr_cmdtype_set(attributes, shell ? APR_SHELLCMD_ENV : APR_PROGRAM_ENV);
  if (rv == APR_SUCCESS) rv = apr_procattr_child_in_set(attributes, input, nullptr);
  if (rv == APR_SUCCESS) rv = apr_procattr_error_check_set(attributes, 1);
  if (rv == APR_SUCCESS) rv = apr_tokenize_to_argv(line, &arguments, spawn_pool_);
  if (rv == APR_SUCCESS && (arguments == nullptr || arguments[0] == nullptr)) rv = APR_EINVAL;
  if (rv == APR_SUCCESS)
    rv = apr_proc_create(&process_, arguments[0], arguments, nullptr, attributes, spawn_pool_);
  started_ms_ = steady_ms();
  running_ = rv == APR_SUCCESS;
  if (!running_) {
    ap_log_error(APLOG_MARK, APLOG_ERR, rv, server_,
                 "KMS0409: the program of the audit log '%s' cannot be started", command_.c_str());
    return rv;
  }
  apr_proc_other_child_register(&process_, on_process, this, nullptr, spawn_pool_);
  return rv;
}

void AuditProgram::ended(int status) {
  running_ = false;
  if (is_stopping()) return;
  ap_log_error(APLOG_MARK, APLOG_ERR, 0, server_,
               "KMS0408: the program of the audit log '%s' ended (wait status %d); no request is "
               "served until it runs again",
               command_.c_str(), status);
  if (steady_ms() - started_ms_ >= kShortLifeMs) restart();
}

// The read end went with the program. The pipe itself, with what was not read, lives as long as
// there is a write end, and this opens it to be read again.
void AuditProgram::restart() {
  const std::string pipe = "/proc/self/fd/" + std::to_string(write_fd_.get());
  Fd read_fd(open(pipe.c_str(), O_RDONLY | O_CLOEXEC));
  if (read_fd.valid()) {
    spawn(std::move(read_fd));
    return;
  }
  ap_log_error(APLOG_MARK, APLOG_ERR, errno, server_,
               "KMS0410: the pipe of the audit log '%s' cannot be opened anew", command_.c_str());
}

}  // namespace

int start_audit_program(apr_pool_t* pconf, server_rec* server, const std::string& command) {
  auto* program = own(pconf, new AuditProgram(pconf, server, command));
  return program->start() == APR_SUCCESS ? program->write_fd() : -1;
}

int monitor_audit_programs(apr_pool_t*, server_rec* server) {
  return guarded(server, DECLINED, [] {
    if (is_stopping()) return DECLINED;
    for (AuditProgram* program : programs())
      if (!program->running()) program->restart();
    return DECLINED;
  });
}

}  // namespace kms
