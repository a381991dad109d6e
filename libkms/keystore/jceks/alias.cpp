// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/alias.h"

#include <unicase.h>

#include <cstdlib>
#include <memory>
#include <new>

#include "keystore/jceks/modified_utf8.h"

namespace kms::jceks {
namespace {

constexpr std::size_t kVersionSuffix = 11;  // "@2147483646"

struct Free {
  void operator()(void* p) const noexcept { std::free(p); }
};

bool is_upper(char c) noexcept {
  return c >= 'A' && c <= 'Z';
}
char lower(char c) noexcept {
  return is_upper(c) ? static_cast<char>(c | 0x20) : c;
}

enum class Shape { folded, ascii, unicode };

Shape shape_of(std::string_view name) noexcept {
  Shape shape = Shape::folded;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) >= 0x80) return Shape::unicode;
    if (is_upper(c)) shape = Shape::ascii;
  }
  return shape;
}

std::string lower_unicode(std::string_view name) {
  if (is_utf8(name)) {
    std::size_t size = 0;
    const std::unique_ptr<std::uint8_t, Free> out(
        u8_tolower(reinterpret_cast<const std::uint8_t*>(name.data()), name.size(), "en", nullptr,
                   nullptr, &size));
    if (out == nullptr) throw std::bad_alloc();
    return {reinterpret_cast<const char*>(out.get()), size};
  }
  // Only an alias with an unpaired surrogate can be meant.
  std::string same(name);
  for (char& c : same) c = lower(c);
  return same;
}

}  // namespace

FoldedAlias::FoldedAlias(std::string_view name) {
  const Shape shape = shape_of(name);
  if (shape == Shape::folded) {
    view_ = name;
  } else if (shape == Shape::ascii && name.size() <= small_.size()) {
    for (std::size_t i = 0; i < name.size(); ++i) small_[i] = lower(name[i]);
    view_ = {small_.data(), name.size()};
  } else {
    large_ = lower_unicode(name);
    view_ = large_;
  }
}

Result<void> check_new_name(std::string_view name) {
  if (name.empty()) return Error(ErrorKind::invalid_argument, "The key name is empty");
  if (!is_utf8(name)) return Error(ErrorKind::invalid_argument, "The key name is not UTF-8");
  if (name.find('\0') != std::string_view::npos)
    return Error(ErrorKind::invalid_argument, "The key name has a NUL character");
  if (modified_utf8_size(name) + kVersionSuffix > kMaxUtfSize)
    return Error(ErrorKind::invalid_argument, "The key name is longer than a keystore can hold");
  if (FoldedAlias(name).view() != name)
    return Error(ErrorKind::invalid_argument,
                 "Uppercase key names are unsupported: " + std::string(name));
  return {};
}

}  // namespace kms::jceks
