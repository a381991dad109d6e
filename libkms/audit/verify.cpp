// SPDX-License-Identifier: Apache-2.0
#include "audit/verify.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <fstream>
#include <map>
#include <string_view>
#include <utility>

#include "audit/chain_mark.h"

namespace kms {
namespace {

using Kind = AuditFinding::Kind;

constexpr std::size_t kLongestLine = 64 * 1024;
// Lines behind which a resumed write can go back: more than one write ever has.
constexpr std::size_t kRecent = 64;

struct Place {
  std::size_t file = 0;
  std::uint64_t line = 0;
};

// Lines of a file of any size. What goes beyond kLongestLine is left out of a line.
class LineReader {
 public:
  explicit LineReader(const std::string& path) : in_(path, std::ios::binary) {}
  bool good() const { return in_.is_open() && !in_.bad(); }
  // whole: it ended with a newline.
  bool next(std::string& line, bool& whole) {
    line.clear();
    whole = false;
    for (;;) {
      if (at_ == buffer_.size()) {
        buffer_.resize(256 * 1024);
        in_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
        buffer_.resize(static_cast<std::size_t>(in_.gcount()));
        at_ = 0;
        if (buffer_.empty()) return !line.empty();
      }
      const std::size_t end = buffer_.find('\n', at_);
      const std::size_t size = std::min(end, buffer_.size()) - at_;
      line.append(buffer_, at_, std::min(size, kLongestLine - std::min(line.size(), kLongestLine)));
      at_ += size;
      if (end == std::string::npos) continue;
      ++at_;
      whole = true;
      return true;
    }
  }

 private:
  std::ifstream in_;
  std::string buffer_;
  std::size_t at_ = 0;
};

struct Seen {
  std::uint64_t number;
  std::string hash;
  Place place;
};

struct Gap {
  std::uint64_t last;       // the first is its key
  std::string hash_before;  // of the line before the first; empty: unknown
  Place place;              // of the line behind it
};

struct Row {
  AuditRow shown;
  std::deque<Seen> recent;  // the last lines in order
  std::map<std::uint64_t, Gap> gaps;
  bool unreadable = false;  // wrong key: said once
};

std::string numbers(std::uint64_t first, std::uint64_t last) {
  return first == last ? "number " + std::to_string(first)
                       : "numbers " + std::to_string(first) + " to " + std::to_string(last);
}

class Verifier {
 public:
  explicit Verifier(const AuditVerifyOptions& options)
      : options_(options), met_(options.expected.size(), false) {}

  void line(std::string_view text, bool whole, Place place);
  void finish(Place end);
  AuditReport report(const std::vector<std::string>& files) &&;

 private:
  void add(Kind kind, Place place, std::string text);
  void without_mark(bool whole, Place place);
  void settle_unmarked(bool excused);
  void begin_row(std::string_view text, const ChainMark& mark, Place place);
  void check_previous(std::string_view text, Place place);
  void next_in_row(Row& row, const ChainMark& mark, Place place);
  void earlier_in_row(Row& row, const ChainMark& mark, Place place);
  bool resume(Row& row, const ChainMark& mark);
  void late(Row& row, std::map<std::uint64_t, Gap>::iterator gap, const ChainMark& mark,
            Place place);
  void take(Row& row, const ChainMark& mark, Place place);
  void meet_expected(const ChainMark& mark, Place place);
  bool hash_fits(std::string_view previous, const ChainMark& mark) const;
  ByteView key() const { return options_.key != nullptr ? options_.key->view() : ByteView(); }

  const AuditVerifyOptions& options_;
  AuditReport report_;
  std::vector<std::pair<Place, AuditFinding>> findings_;
  std::map<std::string, Row, std::less<>> rows_;
  std::vector<std::string> order_;  // of the rows
  std::uint64_t unchained_ = 0;     // lines before the first row
  std::vector<Place> unmarked_;     // the lines before, as far as they have no mark
  bool unmarked_whole_ = true;
  std::vector<bool> met_;  // options_.expected
};

void Verifier::add(Kind kind, Place place, std::string text) {
  AuditFinding finding{kind, {}, place.line, std::move(text)};
  if (finding.is_problem()) ++report_.problems;
  if (findings_.size() >= options_.most_findings) {
    ++report_.more_findings;
    return;
  }
  findings_.emplace_back(place, std::move(finding));
}

bool Verifier::hash_fits(std::string_view previous, const ChainMark& mark) const {
  const auto hash = chain_hash(previous, mark.hashed, key());
  return hash.ok() && text_of(*hash) == mark.hash;
}

void Verifier::line(std::string_view text, bool whole, Place place) {
  if (text.empty()) return;  // before a resumed line
  ++report_.lines;
  const auto mark = parse_chain_mark(text);
  if (!mark) return without_mark(whole, place);
  ++report_.chained;
  if (rows_.empty() && unchained_ > 0)
    add(Kind::unchained, {place.file, place.line},
        std::to_string(unchained_) + " lines before this one are from before the chain began");
  const bool starts = is_chain_line(text, kChainStart);
  settle_unmarked(mark->resumes || (starts && chain_line_value(text, "Torn") == "true"));
  meet_expected(*mark, place);

  const auto found = rows_.find(mark->id);
  if (found == rows_.end()) {
    begin_row(text, *mark, place);
  } else if (mark->number > found->second.shown.last) {
    next_in_row(found->second, *mark, place);
  } else {
    earlier_in_row(found->second, *mark, place);
  }
  if (is_chain_line(text, kChainEnd)) rows_.find(mark->id)->second.shown.ended = true;
}

void Verifier::without_mark(bool whole, Place place) {
  if (rows_.empty()) {
    ++unchained_;
    return;
  }
  unmarked_.push_back(place);
  unmarked_whole_ = whole;
}

// Each write that fails may leave a torn line, so there may be several before one that resumes.
void Verifier::settle_unmarked(bool excused) {
  for (const Place& place : unmarked_) {
    if (excused) {
      add(Kind::leftover, place, "a torn line, left by a write that did not finish");
    } else {
      add(Kind::inserted, place, "the line has no mark: it was inserted, or its mark is damaged");
    }
  }
  unmarked_.clear();
}

void Verifier::take(Row& row, const ChainMark& mark, Place place) {
  row.shown.last = mark.number;
  row.shown.last_hash = mark.hash;
  row.shown.ended = false;
  row.recent.push_back({mark.number, std::string(mark.hash), place});
  if (row.recent.size() > kRecent) row.recent.pop_front();
}

void Verifier::begin_row(std::string_view text, const ChainMark& mark, Place place) {
  Row& row = rows_[std::string(mark.id)];
  order_.emplace_back(mark.id);
  row.shown.id = mark.id;
  row.shown.first = mark.number;
  take(row, mark, place);
  if (mark.number > 1) {
    const std::string begins =
        "the row " + row.shown.id + " begins with number " + std::to_string(mark.number) + " here";
    if (options_.continues) {
      add(Kind::continued, place, begins + ", so this line cannot be checked");
    } else {
      add(Kind::removed, place, begins + ": the lines before it are in no file that was given");
    }
    return;
  }
  // Keyed:false with a key at hand may be the work of somebody who has none.
  const bool keyed = chain_line_value(text, "Keyed") == "true";
  if (is_chain_line(text, kChainStart) && keyed != (options_.key != nullptr)) {
    row.unreadable = true;
    add(Kind::wrong_key, place,
        "the row " + row.shown.id +
            (keyed ? " was made with a key, and none was given"
                   : " was made without a key, and one was given"));
    return;
  }
  if (!hash_fits(text_of(kNoHash), mark)) {
    row.unreadable = true;
    add(Kind::wrong_key, place,
        "the row " + row.shown.id +
            " cannot be checked: another key, or its first line was changed");
    return;
  }
  check_previous(text, place);
}

// The first line of a row names a line that must stand before it.
void Verifier::check_previous(std::string_view text, Place place) {
  const auto previous = parse_audit_checkpoint(chain_line_value(text, "Previous"));
  if (!previous.ok()) return;
  const auto before = rows_.find(previous->id);
  if (before != rows_.end() && before->second.shown.last >= previous->number) return;
  const std::string what = "the row begins after number " + std::to_string(previous->number) +
                           " of the row " + previous->id;
  if (before == rows_.end() && options_.continues) {
    add(Kind::continued, place, what + ", in an earlier file");
  } else {
    add(Kind::removed, place, what + ", which is in no file that was given");
  }
}

void Verifier::next_in_row(Row& row, const ChainMark& mark, Place place) {
  const std::uint64_t expected = row.shown.last + 1;
  if (mark.number > expected) {
    row.gaps[expected] = {mark.number - 1, row.shown.last_hash, place};
  } else if (!row.unreadable && !hash_fits(row.shown.last_hash, mark)) {
    add(Kind::changed, place,
        "the line was changed (number " + std::to_string(mark.number) + " of the row " +
            row.shown.id + ")");
  }
  take(row, mark, place);
}

void Verifier::earlier_in_row(Row& row, const ChainMark& mark, Place place) {
  if (row.unreadable || (mark.resumes && resume(row, mark))) return take(row, mark, place);
  auto gap = row.gaps.upper_bound(mark.number);
  if (gap != row.gaps.begin() && std::prev(gap)->second.last >= mark.number)
    return late(row, std::prev(gap), mark, place);
  add(Kind::repeated, place,
      "number " + std::to_string(mark.number) + " of the row " + row.shown.id +
          " was there before: the line was copied or forged");
}

// Whether mark goes on from a line before the last ones, which a failed write left.
bool Verifier::resume(Row& row, const ChainMark& mark) {
  auto from = std::find_if(row.recent.begin(), row.recent.end(),
                           [&](const Seen& seen) { return seen.number >= mark.number; });
  const bool first = from == row.recent.begin();
  if (first && mark.number > 1) return false;
  const std::string previous(first ? text_of(kNoHash) : std::string_view(std::prev(from)->hash));
  if (!hash_fits(previous, mark)) return false;
  for (auto left = from; left != row.recent.end(); ++left)
    add(Kind::leftover, left->place,
        "left by a write that did not finish; its number is used again");
  row.recent.erase(from, row.recent.end());
  return true;
}

// A line that was missed before.
void Verifier::late(Row& row, std::map<std::uint64_t, Gap>::iterator gap, const ChainMark& mark,
                    Place place) {
  const std::uint64_t first = gap->first;
  Gap whole = std::move(gap->second);
  row.gaps.erase(gap);
  const bool fits = row.unreadable || first != mark.number || hash_fits(whole.hash_before, mark);
  if (mark.number < whole.last)
    row.gaps[mark.number + 1] = {whole.last, std::string(mark.hash), whole.place};
  if (first < mark.number) row.gaps[first] = {mark.number - 1, whole.hash_before, whole.place};
  add(Kind::moved, place,
      "number " + std::to_string(mark.number) + " of the row " + row.shown.id +
          " stands behind number " + std::to_string(row.shown.last) + ": lines were moved" +
          (fits ? "" : ", and this one was changed"));
}

void Verifier::meet_expected(const ChainMark& mark, Place place) {
  for (std::size_t i = 0; i < options_.expected.size(); ++i) {
    const AuditCheckpoint& known = options_.expected[i];
    if (known.number != mark.number || known.id != mark.id) continue;
    met_[i] = true;
    if (known.hash == mark.hash) continue;
    add(Kind::changed, place, "the line has another hash than is known of it from elsewhere");
  }
}

void Verifier::finish(Place end) {
  if (!unmarked_.empty() && !unmarked_whole_) {
    add(Kind::open_end, unmarked_.back(), "the last line is not whole");
    unmarked_.pop_back();
  }
  settle_unmarked(false);
  if (rows_.empty())
    add(Kind::no_chain, end,
        "no line has a mark: the log was written without a chain, or replaced by one");
  for (const auto& [id, row] : rows_) {
    for (const auto& [first, gap] : row.gaps)
      add(Kind::removed, gap.place,
          numbers(first, gap.last) + " of the row " + id + " are missing before this line");
    if (!row.shown.ended)
      add(Kind::open_end, row.recent.back().place,
          "the row " + id +
              " has no end after this line: it is still written, its writers were "
              "killed, or the rest was cut off");
  }
  for (std::size_t i = 0; i < options_.expected.size(); ++i) {
    const AuditCheckpoint& known = options_.expected[i];
    if (met_[i]) continue;
    const auto row = rows_.find(known.id);
    if (options_.continues && (row == rows_.end() || known.number < row->second.shown.first))
      continue;
    add(Kind::cut_off, end,
        "number " + std::to_string(known.number) + " of the row " + known.id +
            ", known from elsewhere, is not there");
  }
}

AuditReport Verifier::report(const std::vector<std::string>& files) && {
  std::stable_sort(findings_.begin(), findings_.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.file, a.first.line - 1) < std::pair(b.first.file, b.first.line - 1);
  });
  for (auto& [place, finding] : findings_) {
    finding.file = place.file < files.size() ? files[place.file] : std::string();
    report_.findings.push_back(std::move(finding));
  }
  for (const std::string& id : order_) report_.rows.push_back(rows_.find(id)->second.shown);
  return std::move(report_);
}

}  // namespace

Result<AuditCheckpoint> parse_audit_checkpoint(std::string_view text) {
  // The mark of a line, but for what surrounds it.
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second != std::string_view::npos) {
    const std::string line =
        " chain=" + std::string(text.substr(0, second)) + ":-" + std::string(text.substr(second));
    if (const auto mark = parse_chain_mark(line))
      return AuditCheckpoint{std::string(mark->id), mark->number, std::string(mark->hash)};
  }
  return Error(ErrorKind::invalid_argument,
               "'" + std::string(text) + "' is no place in an audit chain (ID:NUMBER:HASH)");
}

Result<AuditReport> verify_audit_chain(const std::vector<std::string>& files,
                                       const AuditVerifyOptions& options) {
  Verifier verifier(options);
  std::string text;
  bool whole = true;
  for (std::size_t i = 0; i < files.size(); ++i) {
    LineReader reader(files[i]);
    if (!reader.good()) return Error(ErrorKind::io, files[i] + " cannot be read");
    for (std::uint64_t number = 1; reader.next(text, whole); ++number)
      verifier.line(text, whole, {i, number});
    if (!reader.good()) return Error(ErrorKind::io, files[i] + " cannot be read");
  }
  verifier.finish({files.empty() ? 0 : files.size() - 1, 0});
  return std::move(verifier).report(files);
}

}  // namespace kms
