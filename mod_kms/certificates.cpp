// SPDX-License-Identifier: Apache-2.0
#include "certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <strings.h>

#include <cstdio>
#include <ctime>
#include <memory>

#include "config_sections.h"
#include "kms_config.h"

namespace kms {
namespace {

struct Close {
  void operator()(std::FILE* f) const { std::fclose(f); }
  void operator()(X509* x) const { X509_free(x); }
  void operator()(BIO* b) const { BIO_free(b); }
};

std::string subject_of(const X509& certificate) {
  const std::unique_ptr<BIO, Close> out(BIO_new(BIO_s_mem()));
  if (!out) return {};
  X509_NAME_print_ex(out.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_ONELINE);
  char* text = nullptr;
  const long length = BIO_get_mem_data(out.get(), &text);
  return length > 0 ? std::string(text, static_cast<std::size_t>(length)) : std::string();
}

Certificate read_certificate(const char* path) {
  Certificate read;
  read.file = path;
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path, "re"));
  const std::unique_ptr<X509, Close> certificate(
      file ? PEM_read_X509(file.get(), nullptr, nullptr, nullptr) : nullptr);
  std::tm end{};
  if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    ERR_clear_error();
    read.problem = file ? "holds no certificate in PEM form" : "cannot be opened";
    return read;
  }
  read.subject = subject_of(*certificate);
  read.not_after_ms = static_cast<std::int64_t>(timegm(&end)) * 1000;
  return read;
}

std::vector<const Statement*> all_of(const Section& section, std::string_view name) {
  std::vector<const Statement*> found;
  for (const Statement& statement : section.statements)
    if (statement.name == name && !statement.words.empty()) found.push_back(&statement);
  return found;
}

bool tls_on(const Section& own, const Section& main) {
  const Statement* engine = own.find("sslengine");
  if (engine == nullptr) engine = main.find("sslengine");
  return engine != nullptr && !engine->words.empty() &&
         strcasecmp(engine->words.front().c_str(), "off") != 0;
}

}  // namespace

void read_certificates(server_rec* main_server) {
  const std::vector<ServerText> servers = read_config_tree(main_server, {"sslengine", "sslcert"});
  if (servers.empty()) return;
  const Section& main = servers.front().base;
  for (const ServerText& text : servers) {
    if (text.server == nullptr || !tls_on(text.base, main)) continue;
    ServerConfig& config = server_config(text.server);
    config.tls = true;
    auto files = all_of(text.base, "sslcertificatefile");
    if (files.empty()) files = all_of(main, "sslcertificatefile");
    for (const Statement* statement : files) {
      const char* path =
          ap_server_root_relative(main_server->process->pconf, statement->words.front().c_str());
      if (path != nullptr) config.certificates.push_back(read_certificate(path));
    }
  }
}

}  // namespace kms
