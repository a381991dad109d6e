// SPDX-License-Identifier: Apache-2.0
#include "gssapi_check.h"

#include <strings.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "access_check.h"
#include "auth/keytab.h"
#include "config_sections.h"

namespace kms {
namespace {

// What mod_auth_gssapi calls its directives, for messages.
std::string spelled(std::string_view name) {
  for (const char* known :
       {"GssapiCredStore", "GssapiAllowedMech", "GssapiAcceptorName", "GssapiSSLonly"})
    if (strcasecmp(std::string(name).c_str(), known) == 0) return known;
  return "Gssapi" + std::string(name.substr(6));
}

bool is(const Statement* statement, const char* value) {
  return statement != nullptr && !statement->words.empty() &&
         strcasecmp(statement->words.front().c_str(), value) == 0;
}

bool is_gssapi(const Statement& statement) {
  return statement.name.starts_with("gssapi");
}

bool states_gssapi(const Section& section) {
  return std::any_of(section.statements.begin(), section.statements.end(), is_gssapi);
}

// What counts at one place, from the outermost to the innermost section.
struct Place {
  std::vector<const Section*> layers;

  const Statement* find(std::string_view name) const {
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
      if (const Statement* found = (*layer)->find(name); found != nullptr) return found;
    return nullptr;
  }
  // mod_auth_gssapi does not merge: the last section with any directive of it is all that counts.
  std::vector<const Section*> with_gssapi() const {
    std::vector<const Section*> found;
    for (const Section* layer : layers)
      if (states_gssapi(*layer)) found.push_back(layer);
    return found;
  }
  const Section& engine_section() const {
    for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
      if ((*layer)->find("kmsengine") != nullptr) return **layer;
    return *layers.back();
  }
};

// The places at which the KMS answers in one server: what each of its sections makes of those
// around it.
std::vector<Place> kms_places(const ServerText& main, const ServerText& own) {
  std::vector<const Section*> all;
  for (const ServerText* text : {&main, &own}) {
    for (const Section& section : text->sections) all.push_back(&section);
    if (&main == &own) break;
  }
  std::vector<Place> places;
  for (const Section* here : all) {
    Place place;
    for (const Section* section : all) {
      const bool around =
          here->location && section->covers && path_covers(section->path, here->path);
      if (section == here || around) place.layers.push_back(section);
    }
    if (!here->condition && is(place.find("kmsengine"), "on")) places.push_back(std::move(place));
  }
  return places;
}

class Check {
 public:
  Check(const KeytabReader& reader, Logger& logger) : reader_(reader), logger_(logger) {}
  bool good() const { return good_; }

  void place(const Place& place, hadoop::AuthenticationType type, bool tls) {
    const Statement* auth_type = place.find("authtype");
    // An expression is known when a request is there; KMS0301 is said then.
    if (auth_type != nullptr && !auth_type->words.empty() &&
        auth_type->words.front().find("%{") != std::string::npos)
      return;
    const bool gssapi = is(auth_type, "GSSAPI");
    if (type == hadoop::AuthenticationType::simple) {
      if (gssapi)
        error("KMS0522", auth_type->where +
                             ": 'AuthType GSSAPI', but hadoop.kms.authentication.type is simple, "
                             "with which everybody is who he says he is; set it to kerberos, or "
                             "put 'AuthType KMS' here");
      return;
    }
    if (!gssapi) {
      wrong_type(place, auth_type);
    } else if (ap_find_linked_module("mod_auth_gssapi.c") == nullptr) {
      not_loaded(auth_type->where + ": 'AuthType GSSAPI'");
    } else {
      block(place, *auth_type, tls);
      require(place);
    }
  }

  void condition(const Section& section) {
    for (const Statement& statement : section.statements) {
      if (!is_gssapi(statement) && statement.name != "authtype") continue;
      warn("KMS0536", statement.where + ": " + section.label +
                          " changes the authentication of requests that it holds for; that is not "
                          "checked, and drops all Gssapi directives of the sections around it");
      return;
    }
  }

  void not_loaded(const std::string& what) {
    error("KMS0521",
          what +
              " needs mod_auth_gssapi, which is not loaded: 'LoadModule auth_gssapi_module "
              "modules/mod_auth_gssapi.so' before it (Debian, Ubuntu: apt install "
              "libapache2-mod-auth-gssapi; RHEL: dnf install mod_auth_gssapi; SLES: zypper install "
              "apache2-mod_auth_gssapi)");
  }

 private:
  void wrong_type(const Place& place, const Statement* auth_type) {
    const std::string what = "hadoop.kms.authentication.type is kerberos, but ";
    const std::string remedy =
        "put 'AuthType GSSAPI' and the Gssapi directives here (<IfModule> passes over them where "
        "it stands above the LoadModule line of mod_auth_gssapi)";
    const Section& section = place.engine_section();
    error("KMS0520",
          auth_type != nullptr
              ? auth_type->where + ": " + what + "this is 'AuthType " +
                    (auth_type->words.empty() ? "" : auth_type->words.front()) + "'; " + remedy
              : section.where + ": " + what + section.label + " has no AuthType; " + remedy);
  }

  // httpd asks nobody who he is where no Require is about users. The innermost section with any
  // Require counts, as far as AuthMerging does not say otherwise.
  void require(const Place& place) {
    if (place.find("authmerging") != nullptr) return;
    const Section* counts = nullptr;
    for (const Section* layer : place.layers)
      if (layer->find("require") != nullptr) counts = layer;
    const auto about_users = [](const Statement& s) {
      if (s.name != "require" || s.words.empty()) return false;
      for (const char* other : {"all", "env", "expr", "forward-dns", "host", "ip", "local",
                                "method", "not", "ssl", "ssl-verify-client"})
        if (strcasecmp(s.words.front().c_str(), other) == 0) return false;
      return true;
    };
    if (counts != nullptr &&
        std::any_of(counts->statements.begin(), counts->statements.end(), about_users))
      return;
    warn("KMS0537",
         (counts != nullptr ? counts->find("require")->where : place.layers.back()->where) +
             ": 'Require valid-user' is missing here, so nobody's ticket is looked at "
             "(KMS0303)");
  }

  // Without a keytab of its own mod_auth_gssapi takes what libkrb5 takes.
  void host_keytab(const std::string& where) {
    warn("KMS0523", where +
                        ": no 'GssapiCredStore keytab:FILE' counts here, so the keytab of the "
                        "host is used (/etc/krb5.keytab) instead of one of the KMS");
  }

  // The directives that count at this place.
  void block(const Place& place, const Statement& auth_type, bool tls) {
    const std::vector<const Section*> stating = place.with_gssapi();
    if (stating.empty()) {
      host_keytab(auth_type.where);
      transport(auth_type, nullptr, tls);
      return;
    }
    const Section& counts = *stating.back();
    const Statement& first =
        *std::find_if(counts.statements.begin(), counts.statements.end(), is_gssapi);
    lost(stating, first);
    keytab(counts, first);
    risks(counts);
    mechanisms(counts, first);
    transport(first, counts.find("gssapisslonly"), tls);
  }

  void lost(const std::vector<const Section*>& stating, const Statement& first) {
    const Section& counts = *stating.back();
    std::set<std::string> names;
    for (const Section* outer : stating)
      for (const Statement& statement : outer->statements)
        if (is_gssapi(statement) && counts.find(statement.name) == nullptr)
          names.insert(spelled(statement.name));
    if (names.empty()) return;
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
    error("KMS0525", first.where +
                         ": mod_auth_gssapi does not merge sections: what stands here "
                         "drops " +
                         list + " of the sections around it; state all Gssapi directives, or none");
  }

  void keytab(const Section& counts, const Statement& first) {
    const Statement* last = &first;
    std::string file;
    for (const Statement& statement : counts.statements) {
      if (statement.name != "gssapicredstore") continue;
      last = &statement;
      for (const std::string& word : statement.words)
        if (word.starts_with("keytab:")) file = word.substr(7);
    }
    if (file.starts_with("FILE:") || file.starts_with("WRFILE:"))
      file = file.substr(file.find(':') + 1);
    if (file.empty())
      host_keytab(last->where);
    else if (file.front() == '/')  // else one of libkrb5's other kinds
      keytab_file(last->where + ": keytab " + file, file);
  }

  void keytab_file(const std::string& what, const std::string& file) {
    if (!may_read(file, reader_.user_name, reader_.uid, reader_.gid)) {
      error("KMS0526",
            what + " is not there, or user " + reader_.user_name +
                ", as which httpd serves, cannot read it; chgrp it to the group of httpd, chmod "
                "640, and let that group pass through the directories above");
      return;
    }
    struct stat status {};
    if (stat(file.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0)
      warn("KMS0527",
           what + " can be read by everybody, who can then act as this service; chmod 640");
    auto principals = keytab_principals(file);
    if (!principals.ok()) {
      error("KMS0528", what + ": " + principals.error().message);
      return;
    }
    const auto of_http = [](const std::string& name) { return name.starts_with("HTTP/"); };
    if (std::none_of(principals->begin(), principals->end(), of_http))
      error("KMS0529", what + " holds no key of a principal HTTP/HOST, which clients ask for");
  }

  void mechanisms(const Section& counts, const Statement& first) {
    std::vector<std::string> allowed;
    const Statement* place = &first;
    for (const Statement& statement : counts.statements) {
      if (statement.name != "gssapiallowedmech") continue;
      place = &statement;
      allowed.insert(allowed.end(), statement.words.begin(), statement.words.end());
    }
    const auto is_krb5 = [](const std::string& word) {
      return strcasecmp(word.c_str(), "krb5") == 0;
    };
    if (!allowed.empty() && std::all_of(allowed.begin(), allowed.end(), is_krb5)) return;
    warn("KMS0524", place->where +
                        ": other mechanisms than Kerberos are allowed here, and who comes "
                        "by them is refused in the end (KMS0306): 'GssapiAllowedMech "
                        "krb5', and no other");
  }

  void risks(const Section& counts) {
    if (const Statement* s = counts.find("gssapilocalname"); is(s, "on"))
      error("KMS0530", s->where +
                           ": 'GssapiLocalName On' takes the realm off every name, and "
                           "nobody gets in (KMS0306); mod_kms makes the short names, by "
                           "hadoop.kms.authentication.kerberos.name.rules");
    if (const Statement* s = counts.find("gssapiconnectionbound"); is(s, "on"))
      error("KMS0531", s->where +
                           ": 'GssapiConnectionBound On' takes whoever comes second on a "
                           "connection for the first; Java clients share connections");
    if (const Statement* s = counts.find("gssapinegotiateonce"); is(s, "on"))
      warn("KMS0532", s->where +
                          ": 'GssapiNegotiateOnce On' answers a bad ticket without "
                          "WWW-Authenticate, which Hadoop clients take for a server without "
                          "Kerberos");
    for (const char* name : {"gssapiusesessions", "gssapibasicauth"})
      if (const Statement* s = counts.find(name); is(s, "on"))
        warn("KMS0533", s->where + ": '" +
                            (name[6] == 'u' ? "GssapiUseSessions On' has no effect: Hadoop clients "
                                              "go by the cookie of mod_kms"
                                            : "GssapiBasicAuth On' has no effect but that clients "
                                              "are asked for passwords: mod_kms takes tickets") +
                            "; take it out");
  }

  void transport(const Statement& place, const Statement* ssl_only, bool tls) {
    if (is(ssl_only, "on") && !tls)
      warn("KMS0535", ssl_only->where +
                          ": 'GssapiSSLonly On', but this server has no 'SSLEngine "
                          "On': every ticket is refused");
    else if (!is(ssl_only, "on") && (!tls || ssl_only != nullptr))
      warn("KMS0534",
           (ssl_only != nullptr ? *ssl_only : place).where +
               ": without 'GssapiSSLonly On' and TLS, cookies and tokens of users can be "
               "read on the network");
  }

  void error(const char* id, const std::string& text) {
    good_ = false;
    say(LogLevel::error, id, text);
  }
  void warn(const char* id, const std::string& text) { say(LogLevel::warn, id, text); }
  // Virtual hosts share the sections of the main server, and sections share directives.
  void say(LogLevel level, const char* id, const std::string& text) {
    if (said_.insert(id + text).second) logger_.log(level, id, text);
  }

  const KeytabReader& reader_;
  Logger& logger_;
  std::set<std::string> said_;
  bool good_ = true;
};

std::vector<ServerText> relevant_text(const server_rec* main_server) {
  return read_config_tree(main_server, {"kmsengine", "auth", "gssapi", "require", "sslengine"});
}

}  // namespace

bool check_gssapi(const server_rec* main_server, const TypeOfServer& type_of,
                  const KeytabReader& reader, Logger& logger) {
  const std::vector<ServerText> texts = relevant_text(main_server);
  Check check(reader, logger);
  for (const ServerText& text : texts) {
    const auto type = type_of(text.server);
    if (!type) continue;
    const std::vector<Place> places = kms_places(texts.front(), text);
    const Statement* ssl = text.base.find("sslengine");
    if (ssl == nullptr) ssl = texts.front().base.find("sslengine");
    for (const Place& place : places) check.place(place, *type, ssl != nullptr && !is(ssl, "off"));
    if (places.empty() || *type != hadoop::AuthenticationType::kerberos) continue;
    for (const Section& section : text.sections)
      if (section.condition) check.condition(section);
  }
  return check.good();
}

bool check_gssapi_loaded(const server_rec* main_server, Logger& logger) {
  if (ap_find_linked_module("mod_auth_gssapi.c") != nullptr) return true;
  const std::vector<ServerText> texts = relevant_text(main_server);
  const KeytabReader nobody;
  Check check(nobody, logger);
  bool kms = false;
  std::vector<const Statement*> unknown;
  for (const ServerText& text : texts) {
    for (const Section& section : text.sections) {
      kms = kms || section.find("kmsengine") != nullptr;
      for (const Statement& statement : section.statements)
        if (is_gssapi(statement)) unknown.push_back(&statement);
    }
  }
  // Without a KMS here it is httpd's business. The first one says it all.
  if (kms && !unknown.empty())
    check.not_loaded(unknown.front()->where + ": '" + spelled(unknown.front()->name) + "'");
  return check.good();
}

}  // namespace kms
