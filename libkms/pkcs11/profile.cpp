// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/profile.h"

#include <algorithm>

namespace kms::pkcs11 {
namespace {

// nShield: without the second, keys that another process made stay unseen until C_Initialize.
constexpr Profile::Variable kThales[] = {{"CKNFAST_LOADSHARING", "1"},
                                         {"CKNFAST_ASSUME_SINGLE_PROCESS", "0"}};

constexpr Profile kProfiles[] = {
    {"thales", "/opt/nfast/toolkits/pkcs11/libcknfast.so", kThales},
    {"luna", "/usr/safenet/lunaclient/lib/libCryptoki2_64.so", {}},
    {"generic", {}, {}},
};

}  // namespace

const Profile* find_profile(std::string_view name) {
  const auto* profile = std::find_if(std::begin(kProfiles), std::end(kProfiles),
                                     [&](const Profile& each) { return each.name == name; });
  return profile != std::end(kProfiles) ? profile : nullptr;
}

}  // namespace kms::pkcs11
