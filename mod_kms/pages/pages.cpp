// SPDX-License-Identifier: Apache-2.0
#include "pages/pages.h"

#include <strings.h>

#include "kms_config.h"
#include "request_state.h"
#include "response.h"

namespace kms {
namespace {

constexpr Page kPages[] = {
    // Java's content type, with the charset as it writes it.
    {PageId::jmx,
     "jmx",
     {"/jmx", "/kms/jmx"},
     "application/json; charset=utf8",
     PageAccess::users,
     produce_jmx},
    {PageId::prom,
     "prom",
     {"/prom", ""},
     "text/plain; version=0.0.4; charset=utf-8",
     PageAccess::users,
     produce_prom},
    {PageId::health,
     "health",
     {"/kms/health", ""},
     "application/json",
     PageAccess::all,
     produce_health},
    {PageId::status,
     "status",
     {"/kms/status", ""},
     "text/html; charset=utf-8",
     PageAccess::administrators,
     produce_status},
};
static_assert(std::size(kPages) == kPageCount);

struct AccessWord {
  const char* word;
  PageAccess access;
};
constexpr AccessWord kAccessWords[] = {{"none", PageAccess::none},
                                       {"administrators", PageAccess::administrators},
                                       {"users", PageAccess::users},
                                       {"all", PageAccess::all}};

bool same_word(std::string_view text, const char* word) {
  return text.size() == std::string_view(word).size() &&
         strncasecmp(text.data(), word, text.size()) == 0;
}

// GET and HEAD read; nothing here can be written.
bool reads(const request_rec* r) {
  return r->method_number == M_GET;
}

int refuse_method(request_rec* r) {
  apr_table_setn(r->err_headers_out, "Allow", "GET,HEAD");
  return send_html_error(r, HTTP_METHOD_NOT_ALLOWED, "Method Not Allowed");
}

// Why this user does not get the page; empty: he does.
std::string refusal(request_rec* r, const Page& page, Instance& instance) {
  const rest::Identity& who = request_state(r)->identity;
  switch (page_access(r, page)) {
    case PageAccess::none:
      return "The page " + std::string(page.name) + " is switched off by KMSPageAccess";
    case PageAccess::administrators:
      if (instance.administrators().admits({who.short_name, who.real_short}, instance.groups()))
        return {};
      return "User " + who.short_name + " is unauthorized to access this page";
    case PageAccess::users:
    case PageAccess::all:
      return {};
  }
  return "unknown";
}

}  // namespace

std::span<const Page> pages() {
  return kPages;
}

const Page* find_page(std::string_view raw_path) {
  if (raw_path.empty()) return nullptr;
  for (const Page& page : kPages)
    for (const std::string_view path : page.paths)
      if (path == raw_path) return &page;
  return nullptr;
}

PageAccess page_access(const request_rec* r, const Page& page) {
  return server_config(r->server).page_access[static_cast<std::size_t>(page.id)].value_or(
      page.default_access);
}

std::string set_page_access(std::array<std::optional<PageAccess>, kPageCount>& access,
                            std::string_view page_name, std::string_view who) {
  std::string names, words;
  for (const Page& page : kPages) {
    names += (names.empty() ? "" : ", ") + std::string(page.name);
    if (!same_word(page_name, page.name)) continue;
    for (const AccessWord& known : kAccessWords) {
      words += (words.empty() ? "" : ", ") + std::string(known.word);
      if (!same_word(who, known.word)) continue;
      access[static_cast<std::size_t>(page.id)] = known.access;
      return {};
    }
    return "gives a page to one of " + words + ", not '" + std::string(who) + "'";
  }
  return "knows the pages " + names + ", not '" + std::string(page_name) + "'";
}

int admit_to_open_page(request_rec* r, bool early) {
  const Page* page = find_page(raw_path(r));
  if (page == nullptr || page_access(r, *page) != PageAccess::all) return DECLINED;
  RequestState& state = make_request_state(r);
  state.early = early;
  if (!reads(r)) {
    refuse_method(r);
    return DONE;
  }
  state.early = false;
  state.open_page = page;
  // "Require valid-user" wants a user; what else is required, an address for instance, still
  // counts. The empty name is nobody's, and the handler takes it away.
  static char nobody[] = "";
  r->user = nobody;
  return OK;
}

int serve_page(request_rec* r, const Page& page) {
  Instance& instance = *instance_of(r);
  if (request_state(r)->open_page == nullptr) {
    if (const std::string why = refusal(r, page, instance); !why.empty())
      return send_html_error(r, HTTP_FORBIDDEN, why);
  }
  if (!reads(r)) return refuse_method(r);
  for (const char* name : {"Range", "If-Range", "Request-Range"})
    apr_table_unset(r->headers_in, name);
  const InFlight in_flight(instance.metrics());
  request_state(r)->java_sets_no_status = page.id == PageId::jmx;
  const rest::Query query(raw_query(r));
  rest::Answer answer;
  answer.content_type = page.content_type;
  page.produce({r, instance, query}, answer);
  return send_answer(r, std::move(answer));
}

}  // namespace kms
