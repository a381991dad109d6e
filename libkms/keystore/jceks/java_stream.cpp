// SPDX-License-Identifier: Apache-2.0
#include "keystore/jceks/java_stream.h"

#include <algorithm>

#include "keystore/jceks/modified_utf8.h"

namespace kms::jceks {
namespace {

// Tags of the protocol (java.io.ObjectStreamConstants).
constexpr std::uint8_t kNull = 0x70, kReference = 0x71, kClassDesc = 0x72, kObject = 0x73,
                       kString = 0x74, kArray = 0x75, kBlock = 0x77, kEnd = 0x78, kReset = 0x79,
                       kBlockLong = 0x7A, kLongString = 0x7C, kEnum = 0x7E;
constexpr std::uint8_t kWriteMethod = 0x01, kSerializable = 0x02, kExternalizable = 0x04,
                       kEnumFlag = 0x10;
constexpr std::uint32_t kFirstHandle = 0x007E0000;
constexpr std::uint32_t kMagicAndVersion = 0xACED0005;
constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxChain = 8;

const JavaValue kNullValue;

std::string hex_byte(unsigned b) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  return {kDigits[b >> 4 & 15], kDigits[b & 15]};
}

int primitive_size(char type) {
  switch (type) {
    case 'B':
    case 'Z':
      return 1;
    case 'C':
    case 'S':
      return 2;
    case 'I':
    case 'F':
      return 4;
    case 'J':
    case 'D':
      return 8;
    default:
      return 0;
  }
}

}  // namespace

std::nullptr_t JavaReader::fail(std::string why) {
  if (error_.empty()) error_ = std::move(why);
  return nullptr;
}

std::uint64_t JavaReader::number(int bytes) {
  const ByteView raw = take(static_cast<std::uint64_t>(bytes));
  std::uint64_t n = 0;
  for (const std::uint8_t b : raw) n = n << 8 | b;
  return n;
}

ByteView JavaReader::take(std::uint64_t size) {
  if (failed()) return {};
  if (size > in_.size() - at_) {
    fail("unexpected end of the data");
    return {};
  }
  const ByteView out = in_.subspan(at_, static_cast<std::size_t>(size));
  at_ += out.size();
  return out;
}

ByteView JavaReader::utf() {
  const ByteView raw = take(number(2));
  if (!is_modified_utf8(raw)) fail("malformed modified UTF-8");
  return raw;
}

const KnownClass* JavaReader::known(std::string_view name) const {
  const auto it = std::find_if(policy_.classes.begin(), policy_.classes.end(),
                               [name](const KnownClass& c) { return c.name == name; });
  return it == policy_.classes.end() ? nullptr : &*it;
}

Result<const JavaValue*> JavaReader::read() {
  if (number(4) != kMagicAndVersion && !failed()) fail("invalid stream header");
  // A reset may stand before the object; it has nothing to reset.
  while (!failed() && at_ < in_.size() && in_[at_] == kReset) ++at_;
  const JavaValue* value = content(0);
  if (failed()) return Error(ErrorKind::corrupt, error_);
  return value;
}

const JavaValue* JavaReader::content(int depth) {
  if (depth > kMaxDepth) return fail("the objects are nested too deeply");
  const auto tag = static_cast<std::uint8_t>(number(1));
  if (failed()) return nullptr;
  switch (tag) {
    case kNull:
      return &kNullValue;
    case kReference:
      return reference();
    case kString:
      return string(false);
    case kLongString:
      return string(true);
    case kArray:
      return array(depth);
    case kEnum:
      return enumeration(depth);
    case kObject:
      return object(depth);
    default:
      return fail("invalid type code: " + hex_byte(tag));
  }
}

const JavaValue* JavaReader::reference() {
  const std::uint64_t handle = number(4);
  if (failed()) return nullptr;
  if (handle < kFirstHandle || handle - kFirstHandle >= handles_.size())
    return fail("invalid handle value");
  const auto* value = std::get_if<const JavaValue*>(&handles_[handle - kFirstHandle]);
  return value != nullptr ? *value : fail("a handle of a class where an object is needed");
}

const JavaValue* JavaReader::string(bool is_long) {
  JavaValue value;
  value.kind = JavaValue::Kind::string;
  if (is_long) {
    value.raw = take(number(8));
    if (!is_modified_utf8(value.raw)) fail("malformed modified UTF-8");
  } else {
    value.raw = utf();
  }
  if (failed()) return nullptr;
  values_.push_back(std::move(value));
  handles_.emplace_back(&values_.back());
  return &values_.back();
}

const JavaValue* JavaReader::array(int depth) {
  const JavaClass* type = class_desc(depth + 1);
  if (failed()) return nullptr;
  if (type == nullptr || type->known->role != KnownClass::Role::array)
    return fail("an array of another type than byte[]");
  JavaValue& value = values_.emplace_back();
  value.kind = JavaValue::Kind::bytes;
  handles_.emplace_back(&value);
  value.raw = take(number(4));  // a negative length is past the end, too
  return &value;
}

const JavaValue* JavaReader::enumeration(int depth) {
  const JavaClass* type = class_desc(depth + 1);
  if (failed()) return nullptr;
  if (type == nullptr || type->known->role != KnownClass::Role::enumeration ||
      !(type->flags & kEnumFlag))
    return fail("an enum constant of a class that is no enum");
  JavaValue& value = values_.emplace_back();
  value.kind = JavaValue::Kind::enumeration;
  value.type = type;
  handles_.emplace_back(&value);
  const JavaValue* constant = content(depth + 1);
  if (constant == nullptr) return nullptr;
  if (constant->kind != JavaValue::Kind::string) return fail("an enum constant without a name");
  value.raw = constant->raw;
  return &value;
}

const JavaValue* JavaReader::object(int depth) {
  const JavaClass* type = class_desc(depth + 1);
  if (failed()) return nullptr;
  if (type == nullptr) return fail("an object without a class");
  if (type->known->role != KnownClass::Role::object)
    return fail("class " + std::string(type->known->name) + " cannot be an object");
  if (!policy_.only_object.empty() && (depth != 0 || type->known->name != policy_.only_object))
    return fail("class " + std::string(type->known->name) + " is not allowed here");
  if (!(type->flags & kSerializable) || type->flags & kExternalizable)
    return fail("class invalid for deserialization");
  JavaValue& value = values_.emplace_back();
  value.kind = JavaValue::Kind::object;
  value.type = type;
  handles_.emplace_back(&value);
  for (const JavaClass* c = type; c != nullptr; c = c->super) {
    if (value.slots.size() == kMaxChain) return fail("too many superclasses");
    value.slots.insert(value.slots.begin(), JavaSlot{c, {}, {}});
  }
  for (JavaSlot& s : value.slots)
    if (!slot(s, depth + 1)) return nullptr;
  return &value;
}

// The data of one class: its fields, or the block data of its own readObject, then what else its
// writeObject wrote.
bool JavaReader::slot(JavaSlot& slot, int depth) {
  const bool has_end = slot.type->flags & kWriteMethod;
  if (slot.type->known->custom_data) {
    if (has_end) return skip_annotation(depth, &slot.blocks);
    while (!failed() && at_ < in_.size() && (in_[at_] == kBlock || in_[at_] == kBlockLong)) {
      ByteView data;
      const std::uint8_t tag = in_[at_++];
      if (!block(tag, data)) return false;
      slot.blocks.push_back(data);
    }
    return !failed();
  }
  for (const JavaField& f : slot.type->fields) {
    if (const int size = primitive_size(f.type); size != 0) {
      take(static_cast<std::uint64_t>(size));
      continue;
    }
    const JavaValue* value = content(depth);
    if (value == nullptr) return false;
    slot.fields.emplace_back(f.name, value);
  }
  return !failed() && (!has_end || skip_annotation(depth, nullptr));
}

bool JavaReader::block(std::uint8_t tag, ByteView& out) {
  out = take(number(tag == kBlock ? 1 : 4));
  return !failed();
}

// Up to the end mark. blocks, when given, gets the block data before the first object.
bool JavaReader::skip_annotation(int depth, std::vector<ByteView>* blocks) {
  while (!failed()) {
    if (at_ == in_.size()) {
      fail("unexpected end of the data");
      break;
    }
    const std::uint8_t tag = in_[at_];
    if (tag == kEnd) {
      ++at_;
      return true;
    }
    if (tag == kBlock || tag == kBlockLong) {
      ++at_;
      ByteView data;
      if (block(tag, data) && blocks != nullptr) blocks->push_back(data);
    } else {
      blocks = nullptr;
      content(depth + 1);
    }
  }
  return false;
}

const JavaClass* JavaReader::class_desc(int depth) {
  if (depth > kMaxDepth) return fail("the objects are nested too deeply");
  const auto tag = static_cast<std::uint8_t>(number(1));
  if (failed() || tag == kNull) return nullptr;
  if (tag == kClassDesc) return new_class(depth);
  if (tag != kReference) return fail("invalid type code: " + hex_byte(tag));
  const std::uint64_t handle = number(4);
  if (failed()) return nullptr;
  if (handle < kFirstHandle || handle - kFirstHandle >= handles_.size())
    return fail("invalid handle value");
  const auto* type = std::get_if<const JavaClass*>(&handles_[handle - kFirstHandle]);
  if (type == nullptr || !(*type)->complete) return fail("a handle of something that is no class");
  return *type;
}

const JavaClass* JavaReader::new_class(int depth) {
  const std::string name(as_text(utf()));
  const std::uint64_t suid = number(8);
  if (failed()) return nullptr;
  JavaClass& type = classes_.emplace_back();
  handles_.emplace_back(&type);
  type.known = known(name);
  if (type.known == nullptr) return fail("class " + name + " is not allowed in a keystore");
  if (type.known->role != KnownClass::Role::array && suid != type.known->suid)
    return fail(name + ": local class incompatible: another serialVersionUID");
  type.flags = static_cast<std::uint8_t>(number(1));
  if (!fields(type, depth) || !skip_annotation(depth, nullptr)) return nullptr;
  type.super = class_desc(depth + 1);
  if (failed()) return nullptr;
  type.complete = true;
  return &type;
}

bool JavaReader::fields(JavaClass& type, int depth) {
  const std::uint64_t count = number(2);
  for (std::uint64_t i = 0; i < count && !failed(); ++i) {
    JavaField f;
    f.type = static_cast<char>(number(1));
    f.name = std::string(as_text(utf()));
    if (failed()) break;
    if (f.type == 'L' || f.type == '[') {
      const JavaValue* signature = content(depth + 1);
      if (signature != nullptr && signature->kind != JavaValue::Kind::string)
        fail("a field without a type signature");
    } else if (primitive_size(f.type) == 0) {
      fail("invalid field type");
    }
    type.fields.push_back(std::move(f));
  }
  return !failed();
}

const JavaValue* JavaReader::field(const JavaValue& object, std::string_view class_name,
                                   std::string_view field_name) {
  for (const JavaSlot& slot : object.slots) {
    if (slot.type->known->name != class_name) continue;
    for (const auto& [name, value] : slot.fields)
      if (name == field_name) return value;
  }
  return &kNullValue;
}

}  // namespace kms::jceks
