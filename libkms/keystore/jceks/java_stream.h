// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace kms::jceks {

// Reader of the part of Java's object serialization that keystores use. It makes views into the
// stream, copies nothing, knows only the classes of its policy (as Java's serial filters do), and
// is bounded in depth; time and memory grow with the length of the stream only.

// A class that a stream may hold, with the serialVersionUID that Java demands of it.
struct KnownClass {
  enum class Role { object, super, enumeration, array };
  std::string_view name;
  std::uint64_t suid;
  Role role;
  bool custom_data = false;  // its readObject takes block data, not fields
};

struct StreamPolicy {
  std::span<const KnownClass> classes;
  // The one class allowed at the top, nothing but it; empty: any object, at any place.
  std::string_view only_object;
};

struct JavaField {
  char type;  // B C D F I J S Z L [
  std::string name;
};

struct JavaClass {
  const KnownClass* known = nullptr;
  std::uint8_t flags = 0;
  std::vector<JavaField> fields;
  const JavaClass* super = nullptr;
  bool complete = false;
};

struct JavaValue;

// What a stream holds for one class of an object's chain.
struct JavaSlot {
  const JavaClass* type;
  std::vector<std::pair<std::string_view, const JavaValue*>> fields;  // object fields only
  std::vector<ByteView> blocks;                                       // leading block data
};

struct JavaValue {
  enum class Kind { null, string, bytes, enumeration, object };
  Kind kind = Kind::null;
  ByteView raw;  // a string's modified UTF-8, an array's bytes, an enum constant's name
  const JavaClass* type = nullptr;  // of an object or enum
  std::vector<JavaSlot> slots;      // topmost superclass first
};

class JavaReader {
 public:
  JavaReader(ByteView stream, const StreamPolicy& policy) : in_(stream), policy_(policy) {}

  // Header and first object. The value lives as long as the reader and its stream. Errors: corrupt.
  Result<const JavaValue*> read();
  // Bytes taken so far: after read() the length of the stream up to the end of that object.
  std::size_t position() const noexcept { return at_; }

  // The field of an object, as the given class declares it; null when the stream has none.
  static const JavaValue* field(const JavaValue& object, std::string_view class_name,
                                std::string_view field_name);

 private:
  using Handle = std::variant<const JavaClass*, const JavaValue*>;

  std::uint64_t number(int bytes);
  ByteView take(std::uint64_t size);
  ByteView utf();
  const JavaValue* content(int depth);
  const JavaValue* string(bool is_long);
  const JavaValue* array(int depth);
  const JavaValue* enumeration(int depth);
  const JavaValue* object(int depth);
  const JavaValue* reference();
  const JavaClass* class_desc(int depth);
  const JavaClass* new_class(int depth);
  bool fields(JavaClass& type, int depth);
  bool slot(JavaSlot& slot, int depth);
  bool skip_annotation(int depth, std::vector<ByteView>* blocks);
  bool block(std::uint8_t tag, ByteView& out);
  const KnownClass* known(std::string_view name) const;
  std::nullptr_t fail(std::string why);
  bool failed() const noexcept { return !error_.empty(); }

  ByteView in_;
  const StreamPolicy& policy_;
  std::size_t at_ = 0;
  std::deque<JavaClass> classes_;
  std::deque<JavaValue> values_;
  std::vector<Handle> handles_;
  std::string error_;  // the first thing that went wrong
};

}  // namespace kms::jceks
