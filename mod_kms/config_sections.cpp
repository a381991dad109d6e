// SPDX-License-Identifier: Apache-2.0
#include "config_sections.h"

#include <algorithm>
#include <cctype>

namespace kms {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string place_of(const ap_directive_t* node) {
  return std::string(node->filename != nullptr ? node->filename : "?") + ":" +
         std::to_string(node->line_num);
}

std::vector<std::string> words_of(apr_pool_t* pool, const char* args) {
  std::vector<std::string> words;
  while (args != nullptr && *args != '\0') words.emplace_back(ap_getword_conf(pool, &args));
  return words;
}

// The arguments of a section, whose closing '>' httpd leaves in place.
std::string arguments_of(const ap_directive_t* node) {
  std::string text = node->args != nullptr ? node->args : "";
  while (!text.empty() && (text.back() == '>' || text.back() == ' ')) text.pop_back();
  return text;
}

// What every match of a regular expression begins with; "/" when that is not plain to see.
std::string certain_prefix(std::string_view pattern) {
  if (!pattern.starts_with("^/")) return "/";
  pattern.remove_prefix(1);
  const std::size_t end = std::min(pattern.find_first_of(".[(*+?\\|{$"), pattern.size());
  std::string prefix(pattern.substr(0, end));
  if (end < pattern.size() && std::string_view("*?{").find(pattern[end]) != std::string_view::npos)
    prefix.pop_back();
  // An alternative may begin with anything.
  return prefix.empty() || pattern.find('|') != std::string_view::npos ? "/" : prefix;
}

void set_path(apr_pool_t* pool, const ap_directive_t* node, bool pattern, Section& section) {
  std::vector<std::string> words = words_of(pool, arguments_of(node).c_str());
  if (!words.empty() && words.front() == "~") {
    pattern = true;
    words.erase(words.begin());
  }
  const std::string path = words.empty() ? "/" : words.front();
  section.location = true;
  if (pattern) {
    section.path = certain_prefix(path);
  } else if (const std::size_t wild = path.find_first_of("*?["); wild != std::string::npos) {
    section.path = path.substr(0, wild);
  } else {
    section.path = path;
    section.covers = true;
  }
}

class Reader {
 public:
  Reader(const server_rec* main_server, const std::vector<std::string_view>& prefixes)
      : prefixes_(prefixes) {
    apr_pool_create(&pool_, main_server->process->pool);
    for (const server_rec* s = main_server; s != nullptr; s = s->next) {
      texts_.emplace_back();
      texts_.back().server = s;
    }
  }
  ~Reader() { apr_pool_destroy(pool_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  std::vector<ServerText> read() && {
    walk(ap_conftree, texts_.front(), nullptr);
    return std::move(texts_);
  }

 private:
  // section: null outside of any.
  void walk(const ap_directive_t* node, ServerText& text, Section* section) {
    for (; node != nullptr; node = node->next) {
      const std::string name = lower(node->directive);
      if (node->first_child == nullptr && name.front() != '<') {
        take(node, name, section != nullptr ? *section : text.base);
      } else if (name == "<virtualhost") {
        walk(node->first_child, host_of(node, text), nullptr);
      } else if (is_section(name)) {
        enter(node, name, text, section);
      } else {
        walk(node->first_child, text, section);  // <Limit>, <RequireAny> and the like
      }
    }
  }

  static bool is_section(std::string_view name) {
    for (const char* known :
         {"<location", "<locationmatch", "<directory", "<directorymatch", "<files", "<filesmatch",
          "<proxy", "<proxymatch", "<if", "<elseif", "<else"})
      if (name == known) return true;
    return false;
  }

  void enter(const ap_directive_t* node, const std::string& name, ServerText& text,
             const Section* outer) {
    Section section;
    section.label = std::string(node->directive) + " " + arguments_of(node) + ">";
    section.where = place_of(node);
    section.condition = name == "<if" || name == "<elseif" || name == "<else";
    if (name.starts_with("<location"))
      set_path(pool_, node, name == "<locationmatch", section);
    else if (outer != nullptr)
      section.path = outer->path;
    const std::size_t place = text.sections.size();
    text.sections.push_back(section);
    walk(node->first_child, text, &section);
    text.sections[place] = std::move(section);
  }

  void take(const ap_directive_t* node, const std::string& name, Section& section) {
    const auto wanted = [&](std::string_view prefix) { return name.starts_with(prefix); };
    if (std::any_of(prefixes_.begin(), prefixes_.end(), wanted))
      section.statements.push_back({name, words_of(pool_, node->args), place_of(node)});
  }

  // httpd notes where it found a virtual host.
  ServerText& host_of(const ap_directive_t* node, ServerText& otherwise) {
    for (ServerText& text : texts_)
      if (text.server->defn_name != nullptr && node->filename != nullptr &&
          std::string_view(text.server->defn_name) == node->filename &&
          text.server->defn_line_number == static_cast<unsigned>(node->line_num))
        return text;
    return otherwise;
  }

  const std::vector<std::string_view>& prefixes_;
  apr_pool_t* pool_ = nullptr;
  std::vector<ServerText> texts_;
};

}  // namespace

const Statement* Section::find(std::string_view name) const {
  const auto named = [&](const Statement& s) { return s.name == name; };
  const auto found = std::find_if(statements.rbegin(), statements.rend(), named);
  return found != statements.rend() ? &*found : nullptr;
}

std::vector<ServerText> read_config_tree(const server_rec* main_server,
                                         const std::vector<std::string_view>& prefixes) {
  return Reader(main_server, prefixes).read();
}

bool path_covers(std::string_view outer, std::string_view inner) {
  if (outer == "/" || outer.empty()) return true;
  if (!inner.starts_with(outer)) return false;
  return outer.ends_with('/') || inner.size() == outer.size() || inner[outer.size()] == '/';
}

}  // namespace kms
