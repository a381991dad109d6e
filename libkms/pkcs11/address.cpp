// SPDX-License-Identifier: Apache-2.0
#include "pkcs11/address.h"

namespace kms::pkcs11 {

Result<TokenAddress> TokenAddress::parse(const std::string& text) {
  const auto wrong = [&](const std::string& why) {
    return Error(ErrorKind::configuration, "'" + text + "' " + why +
                                               "; a token is named as in pkcs11:token=LABEL or "
                                               "pkcs11:serial=NUMBER (RFC 7512)");
  };
  TokenAddress address(p11_kit_uri_new(), text);
  P11KitUri* uri = address.uri_.get();
  if (uri == nullptr) return Error(ErrorKind::internal, "memory is short");
  if (const int problem = p11_kit_uri_parse(text.c_str(), P11_KIT_URI_FOR_ANY, uri); problem != 0) {
    const char* said = p11_kit_uri_message(problem);
    return wrong("cannot be read: " + std::string(said != nullptr ? said : "no PKCS#11 URI"));
  }
  if (p11_kit_uri_get_pin_value(uri) != nullptr || p11_kit_uri_get_pin_source(uri) != nullptr)
    return wrong("says something of a PIN, which belongs into hadoop.kms.hsm.pin-file");
  if (p11_kit_uri_get_module_path(uri) != nullptr || p11_kit_uri_get_module_name(uri) != nullptr)
    return wrong("names a module, which belongs into hadoop.kms.hsm.library");
  CK_ULONG attributes = 0;
  p11_kit_uri_get_attributes(uri, &attributes);
  const CK_TOKEN_INFO& token = *p11_kit_uri_get_token_info(uri);
  if (attributes != 0 || p11_kit_uri_any_unrecognized(uri) != 0 ||
      p11_kit_uri_get_slot_id(uri) != static_cast<CK_SLOT_ID>(-1))
    return wrong("has more than attributes of a token");
  if (token.label[0] == 0 && token.serialNumber[0] == 0)
    return wrong("has neither the label nor the serial number of a token");
  return address;
}

std::string padded_text(const CK_UTF8CHAR* text, std::size_t size) {
  std::string out(reinterpret_cast<const char*>(text), size);
  out.erase(out.find_last_not_of(std::string_view(" \0", 2)) + 1);
  return out;
}

}  // namespace kms::pkcs11
