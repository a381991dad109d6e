// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "instance.h"
#include "mod_kms.h"
#include "rest/exchange.h"

// The pages beside the REST API: metrics for monitors, health for balancers, the state for
// operators. One table says what there is.
namespace kms {

enum class PageId { jmx, prom, health, status };
inline constexpr std::size_t kPageCount = 4;

// Who may read a page. all: whoever reaches the port, without saying who he is.
enum class PageAccess { none, administrators, users, all };

struct PageRequest {
  request_rec* r;
  Instance& instance;
  const rest::Query& query;
};

struct Page {
  PageId id;
  const char* name;                       // in KMSPageAccess
  std::array<std::string_view, 2> paths;  // as sent, undecoded; the second may be empty
  const char* content_type;               // of an answer whose producer says no other
  PageAccess default_access;
  void (*produce)(const PageRequest& request, rest::Answer& answer);  // fills status 200's text
};

std::span<const Page> pages();
// The page that has exactly this path; null: none.
const Page* find_page(std::string_view raw_path);
PageAccess page_access(const request_rec* r, const Page& page);

// The access that KMSPageAccess PAGE WHO asks for; a text says what is wrong.
std::string set_page_access(std::array<std::optional<PageAccess>, kPageCount>& access,
                            std::string_view page, std::string_view who);

// Before anybody is asked who he is: whether the request is for a page that is open to all. Then it
// needs no user, and nothing but the page is served for it. OK, DECLINED when it is no such
// request, DONE when its method was refused. early: as in authenticate().
int admit_to_open_page(request_rec* r, bool early);

// Answers a request whose user is known, or that admit_to_open_page took. Returns what a handler
// returns.
int serve_page(request_rec* r, const Page& page);

// The producers.
void produce_jmx(const PageRequest& request, rest::Answer& answer);
void produce_prom(const PageRequest& request, rest::Answer& answer);
void produce_health(const PageRequest& request, rest::Answer& answer);
void produce_status(const PageRequest& request, rest::Answer& answer);

}  // namespace kms
