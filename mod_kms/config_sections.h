// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mod_kms.h"

// What stands in the configuration files about authentication, section by section. Other modules
// keep their configuration to themselves, but httpd's tree of directives (ap_conftree) is open to
// all.
namespace kms {

struct Statement {
  std::string name;                // in lower case
  std::vector<std::string> words;  // its arguments, without quotes
  std::string where;               // "FILE:LINE"
};

// A <Location> or what else may hold directives of a directory; or, without a label, what a server
// says outside of any.
struct Section {
  std::string label;  // as written, "<Location "/kms">"
  std::string where;
  std::string path;        // of a <Location>; of a pattern what it begins with for certain
  bool covers = false;     // a plain path: whatever lies below it is meant as well
  bool location = false;   // <Location> or <LocationMatch>, which is what counts for a KMS
  bool condition = false;  // <If>, <ElseIf>, <Else>
  std::vector<Statement> statements;

  // The last one of this name, which is the one that counts; null when there is none.
  const Statement* find(std::string_view name) const;
};

struct ServerText {
  const server_rec* server = nullptr;
  Section base;                   // what stands outside of any section
  std::vector<Section> sections;  // in the order of the files
};

// The main server first, then the virtual hosts. Only statements whose name begins with one of the
// prefixes are taken along. Must be called between the reading of the configuration and the first
// request: the tree does not change then.
std::vector<ServerText> read_config_tree(const server_rec* main_server,
                                         const std::vector<std::string_view>& prefixes);

// Whether a <Location> of this path holds for another path as well.
bool path_covers(std::string_view outer, std::string_view inner);

}  // namespace kms
