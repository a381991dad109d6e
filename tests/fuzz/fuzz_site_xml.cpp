// SPDX-License-Identifier: Apache-2.0
// kms-site.xml and kms-acls.xml: what is read can be merged, expanded and evaluated, twice with the
// same outcome.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "acl/acl_set.h"
#include "hadoop/configuration.h"

namespace {

class Silent : public kms::Logger {
 public:
  void log(kms::LogLevel, std::string_view, std::string_view) noexcept override {}
};

kms::Groups& groups() {
  static Silent log;
  static const auto made = kms::Groups::create({"alice=g1,g2;bob=", 300, 30, {}}, log);
  return **made;
}

void require(bool good) {
  if (!good) std::abort();
}

void evaluate(const kms::AclSet& rules) {
  for (const kms::Caller caller : {kms::Caller{"alice", {}}, kms::Caller{"bob", "alice"}}) {
    for (std::size_t i = 0; i < kms::kOpAclCount; ++i)
      rules.op_allowed(static_cast<kms::OpAcl>(i), caller, groups());
    for (std::size_t i = 0; i < kms::kKeyOpCount; ++i) {
      const auto op = static_cast<kms::KeyOp>(i);
      const kms::KeyDecision d = rules.key_allowed("k", op, caller, groups());
      require(d.allowed ? rules.key_acl_present("k", op) && !d.denied_all
                        : d.denied_op == d.denied_all);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace kms;
  const std::string_view xml(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> warnings;
  auto parsed = hadoop::parse_site_xml(xml, "fuzz.xml", "/nonexistent", &warnings);
  if (!parsed.ok()) {
    require(parsed.error().kind == ErrorKind::configuration);
    require(parsed.error().message.starts_with("fuzz.xml") ||
            parsed.error().message.starts_with("/"));
    return 0;
  }
  hadoop::Configuration conf;
  conf.system_properties = {{"user.name", "kms"}};
  conf.environment = [](const std::string&) { return std::nullopt; };
  for (const hadoop::Property& property : *parsed) require(!property.name.empty());
  conf.add(*parsed);
  for (const auto& [name, property] : conf.all()) {
    require(conf.get(name).has_value());
    (void)conf.get_bool(name, false);
    (void)conf.get_int(name, 0, 0, 100);
  }
  const auto rules = AclSet::build(conf, warnings);
  if (!rules.ok()) return 0;
  require(**rules == **AclSet::build(conf, warnings));
  evaluate(**rules);
  return 0;
}
