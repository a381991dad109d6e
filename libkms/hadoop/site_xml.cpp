// SPDX-License-Identifier: Apache-2.0
// Reads *-site.xml. Which elements count, and how, follows Hadoop's Configuration.Parser: local
// names only, anywhere below the root, text of the last <name>, <value>, <final> before
// </property>. Stricter on purpose: the root is <configuration>, a property has a name, and no
// entity is ever declared or fetched.
#include <expat.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <system_error>
#include <utility>

#include "auth/text.h"
#include "hadoop/configuration.h"

namespace kms::hadoop {
namespace {

constexpr std::size_t kMaxFileBytes = 16u << 20;
constexpr std::size_t kMaxDepth = 16;
constexpr int kMaxFiles = 256;    // includes that fan out must end too
constexpr char kSeparator = ' ';  // between namespace and local name; neither holds one unescaped

struct FileId {
  dev_t device;
  ino_t inode;
  bool operator==(const FileId&) const = default;
};

struct LoadedFile {
  std::string text;
  FileId id{};
};

// What a file shares with all that it includes.
struct Reading {
  std::string base_dir;  // of the outermost file; Hadoop resolves nested includes against it too
  std::vector<std::string>* warnings;
  std::vector<FileId> open;  // files that are being read, to see a circle
  int files = 0;
};

Error file_error(const std::string& path, const std::string& text) {
  return Error(ErrorKind::configuration, path + ": " + text);
}

Error errno_error(const std::string& path, int code) {
  return file_error(path, std::generic_category().message(code));
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

// No value: there is no such file.
Result<std::optional<LoadedFile>> load_file(const std::string& path) {
  // Without O_NONBLOCK a named pipe would hang the start.
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::optional<LoadedFile>();
    return errno_error(path, errno);
  }
  struct stat info {};
  if (fstat(file.fd, &info) != 0) return errno_error(path, errno);
  if (!S_ISREG(info.st_mode)) return file_error(path, "is not a regular file");
  LoadedFile loaded;
  loaded.id = {info.st_dev, info.st_ino};
  char buffer[16384];
  for (;;) {
    const ssize_t n = read(file.fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(path, errno);
    if (n == 0) return std::optional(std::move(loaded));
    loaded.text.append(buffer, static_cast<std::size_t>(n));
    if (loaded.text.size() > kMaxFileBytes) return file_error(path, "is larger than 16 MiB");
  }
}

std::string_view local_name(const char* name) {
  const std::string_view all = name;
  const std::size_t separator = all.rfind(kSeparator);
  return separator == std::string_view::npos ? all : all.substr(separator + 1);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// The local path that an include names (href is not empty); empty when it names no local file.
std::string include_path(std::string_view href, const std::string& base_dir) {
  if (href.starts_with("file:")) {
    href.remove_prefix(5);
    if (href.starts_with("//localhost/")) href.remove_prefix(11);
    if (href.starts_with("///")) href.remove_prefix(2);
    if (!href.starts_with('/') || href.starts_with("//")) return {};
    return percent_decode(href);
  }
  if (href.find("://") != std::string_view::npos || href.starts_with("jar:")) return {};
  if (href.front() == '/') return std::string(href);
  return base_dir + "/" + std::string(href);
}

class FileParser {
 public:
  FileParser(std::string name, Reading& reading) : name_(std::move(name)), reading_(reading) {}

  Result<std::vector<Property>> parse(std::string_view xml);

 private:
  struct Freed {
    void operator()(XML_Parser p) const { XML_ParserFree(p); }
  };

  // Expat is C: no exception may pass through it. What a handler throws is thrown again by parse.
  template <class Body>
  static void guarded(void* self, Body body) noexcept {
    auto& parser = *static_cast<FileParser*>(self);
    if (parser.failure_ || parser.thrown_) return;
    try {
      body(parser);
    } catch (...) {
      parser.thrown_ = std::current_exception();
      XML_StopParser(parser.expat_.get(), XML_FALSE);
    }
  }
  void install_handlers();

  int line() const { return static_cast<int>(XML_GetCurrentLineNumber(expat_.get())); }
  std::string place(int line) const { return Origin{name_, line}.text(); }
  void fail(Error error);
  void fail_at(int line, const std::string& text) { fail(file_error(place(line), text)); }
  void warn_at(int line, const std::string& text) {
    if (reading_.warnings != nullptr) reading_.warnings->push_back(place(line) + ": " + text);
  }

  void start_element(std::string_view element, const char** attributes);
  void end_element(std::string_view element);
  void start_property(const char** attributes);
  void end_property();
  void start_include(const char** attributes);
  void include_file(const std::string& path, LoadedFile file);
  void end_include();

  std::string name_;
  Reading& reading_;
  std::unique_ptr<XML_ParserStruct, Freed> expat_;
  std::vector<Property> properties_;
  std::optional<Error> failure_;
  std::exception_ptr thrown_;
  bool root_seen_ = false;
  std::set<std::string, std::less<>> strange_elements_;  // those already warned of

  bool collecting_ = false;
  std::string token_;
  Property property_;
  bool named_ = false;

  struct Include {
    int line;
    std::string href;
    bool missing = false, has_fallback = false;
  };
  std::vector<Include> includes_;  // those whose end tag is still to come
  // Hadoop's two flags, of which it keeps one pair for the whole file.
  bool fallback_allowed_ = false, fallback_entered_ = false;
};

void FileParser::fail(Error error) {
  if (!failure_) failure_ = std::move(error);
  XML_StopParser(expat_.get(), XML_FALSE);
}

void FileParser::install_handlers() {
  XML_Parser p = expat_.get();
  XML_SetUserData(p, this);
  XML_SetElementHandler(
      p,
      [](void* self, const char* name, const char** attributes) noexcept {
        guarded(self, [&](FileParser& f) { f.start_element(local_name(name), attributes); });
      },
      [](void* self, const char* name) noexcept {
        guarded(self, [&](FileParser& f) { f.end_element(local_name(name)); });
      });
  XML_SetCharacterDataHandler(p, [](void* self, const char* text, int length) noexcept {
    guarded(self, [&](FileParser& f) {
      if (f.collecting_) f.token_.append(text, static_cast<std::size_t>(length));
    });
  });
  XML_SetStartDoctypeDeclHandler(
      p, [](void* self, const char*, const char*, const char*, int has_internal_subset) noexcept {
        guarded(self, [&](FileParser& f) {
          if (has_internal_subset != 0)
            f.fail_at(f.line(), "a document type with declarations of its own is not accepted");
        });
      });
  XML_SetEntityDeclHandler(p, [](void* self, const char*, int, const char*, int, const char*,
                                 const char*, const char*, const char*) noexcept {
    guarded(self,
            [](FileParser& f) { f.fail_at(f.line(), "entity declarations are not accepted"); });
  });
  // With an external DTD, which is never fetched, expat would leave unknown entities out silently.
  XML_SetSkippedEntityHandler(p, [](void* self, const char* name, int) noexcept {
    guarded(self, [&](FileParser& f) {
      f.fail_at(f.line(), "entity '" + std::string(name) + "' is not defined");
    });
  });
}

Result<std::vector<Property>> FileParser::parse(std::string_view xml) {
  if (xml.size() > kMaxFileBytes) return file_error(name_, "is larger than 16 MiB");
  expat_.reset(XML_ParserCreateNS(nullptr, kSeparator));
  if (!expat_) throw std::bad_alloc();
  install_handlers();
  const XML_Status status = XML_Parse(expat_.get(), xml.data(), static_cast<int>(xml.size()), 1);
  if (thrown_) std::rethrow_exception(thrown_);
  if (failure_) return std::move(*failure_);
  if (status != XML_STATUS_OK) {
    const auto column = XML_GetCurrentColumnNumber(expat_.get()) + 1;
    return file_error(place(line()) + ":" + std::to_string(column),
                      XML_ErrorString(XML_GetErrorCode(expat_.get())));
  }
  return std::move(properties_);
}

void FileParser::start_element(std::string_view element, const char** attributes) {
  if (!root_seen_ && element != "configuration")
    return fail_at(line(),
                   "the root element is <" + std::string(element) + ">, not <configuration>");
  root_seen_ = true;
  if (element == "property") {
    start_property(attributes);
  } else if (element == "name" || element == "value" || element == "final" || element == "source" ||
             element == "tag") {
    collecting_ = true;
    token_.clear();
  } else if (element == "include") {
    start_include(attributes);
  } else if (element == "fallback") {
    fallback_entered_ = true;
    if (!includes_.empty()) includes_.back().has_fallback = true;
  } else if (element != "configuration" && element != "description" &&
             strange_elements_.emplace(element).second) {
    warn_at(line(), "Hadoop takes no notice of an element <" + std::string(element) + ">");
  }
}

void FileParser::end_element(std::string_view element) {
  if (element == "name") {
    if (token_.empty()) return;
    property_.name = java_trim(token_);
    named_ = true;
  } else if (element == "value") {
    if (token_.empty()) return;
    property_.value = token_;
    property_.has_value = true;
  } else if (element == "final") {
    property_.final = token_ == "true";
    const std::string_view said = java_trim(token_);
    if (!property_.final && !said.empty() && said != "false")
      warn_at(line(), "<final> says '" + token_ + "'; Hadoop takes only the exact word 'true'");
  } else if (element == "include") {
    end_include();
  } else if (element == "property") {
    end_property();
  }
}

void FileParser::start_property(const char** attributes) {
  property_ = Property();
  property_.has_value = false;
  property_.origin = {name_, line()};
  named_ = false;
  for (; *attributes != nullptr; attributes += 2) {
    const std::string_view attribute = local_name(attributes[0]);
    if (attribute == "name") {
      property_.name = attributes[1];  // Hadoop does not trim this form
      named_ = true;
    } else if (attribute == "value") {
      property_.value = attributes[1];
      property_.has_value = true;
    } else if (attribute == "final") {
      property_.final = std::string_view(attributes[1]) == "true";
    }
  }
}

void FileParser::end_property() {
  if (!fallback_allowed_ && fallback_entered_) return;  // in a fallback that is not needed
  if (!named_ || property_.name.empty())
    return fail_at(property_.origin.line, "a <property> without <name>");
  properties_.push_back(property_);
}

void FileParser::start_include(const char** attributes) {
  std::string href;
  for (; *attributes != nullptr; attributes += 2)
    if (local_name(attributes[0]) == "href") href = attributes[1];
  includes_.push_back({line(), href});
  if (href.empty()) return fail_at(line(), "an include without href");
  const std::string path = include_path(href, reading_.base_dir);
  if (path.empty())
    return fail_at(line(), "include of '" + href + "': only local files can be included");
  auto file = load_file(path);
  if (!file.ok())
    return fail_at(line(), "include of '" + href + "': " + std::move(file).error().message);
  if (!file->has_value()) {
    includes_.back().missing = true;
    fallback_allowed_ = true;
    return;
  }
  include_file(path, std::move(**file));
}

void FileParser::include_file(const std::string& path, LoadedFile file) {
  if (std::find(reading_.open.begin(), reading_.open.end(), file.id) != reading_.open.end())
    return fail_at(line(), "the file " + path + " includes itself");
  if (reading_.open.size() >= kMaxDepth)
    return fail_at(line(), "includes nested deeper than " + std::to_string(kMaxDepth) + " files");
  if (++reading_.files > kMaxFiles)
    return fail_at(line(), "more than " + std::to_string(kMaxFiles) + " files included");
  reading_.open.push_back(file.id);
  auto inner = FileParser(path, reading_).parse(file.text);
  reading_.open.pop_back();
  if (!inner.ok()) return fail(std::move(inner).error());
  properties_.insert(properties_.end(), std::make_move_iterator(inner->begin()),
                     std::make_move_iterator(inner->end()));
}

void FileParser::end_include() {
  const Include include = std::move(includes_.back());
  includes_.pop_back();
  if (fallback_allowed_ && !fallback_entered_)
    return fail_at(include.line, "the included file '" + include.href +
                                     "' does not exist and there is no <xi:fallback>");
  if (include.missing && !include.has_fallback)
    warn_at(include.line, "the included file '" + include.href +
                              "' does not exist; Hadoop passes over it inside of a fallback");
  fallback_allowed_ = false;
  fallback_entered_ = false;
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::vector<Property>> read_site_xml(const std::string& path,
                                            std::vector<std::string>* warnings) {
  auto file = load_file(path);
  if (!file.ok()) return std::move(file).error();
  if (!file->has_value()) return errno_error(path, ENOENT);
  Reading reading{directory_of(path), warnings, {(*file)->id}};
  return FileParser(path, reading).parse((*file)->text);
}

Result<std::vector<Property>> parse_site_xml(std::string_view xml, const std::string& name,
                                             const std::string& base_dir,
                                             std::vector<std::string>* warnings) {
  Reading reading{base_dir, warnings, {}};
  return FileParser(name, reading).parse(xml);
}

}  // namespace kms::hadoop
