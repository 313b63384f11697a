#include "io/tokenizer/split_behavior.h"

#include <algorithm>

#include "io/tokenizer/json_fields.h"

namespace awq::io {
namespace {

using Segments = std::vector<Segment>;

Segments isolated(const Segments& segments) { return segments; }

Segments removed(const Segments& segments) {
  Segments out;
  std::copy_if(segments.begin(), segments.end(), std::back_inserter(out), [](const Segment& s) { return !s.is_match; });
  return out;
}

// Neighbouring matches become one piece.
Segments contiguous(const Segments& segments) {
  Segments out;
  for (const Segment& s : segments) {
    if (!out.empty() && out.back().is_match == s.is_match)
      out.back().end = s.end;
    else
      out.push_back(s);
  }
  return out;
}

// A match joins the piece before it; of several matches in a row only the first one does.
Segments merged_with_previous(const Segments& segments) {
  Segments out;
  bool behind_match = false;
  for (const Segment& s : segments) {
    if (s.is_match && !behind_match && !out.empty())
      out.back().end = s.end;
    else
      out.push_back(s);
    behind_match = s.is_match;
  }
  return out;
}

// The mirror image: of several matches in a row the last one joins the piece behind it.
Segments merged_with_next(const Segments& segments) {
  Segments out;
  bool before_match = false;
  for (auto s = segments.rbegin(); s != segments.rend(); ++s) {
    if (s->is_match && !before_match && !out.empty())
      out.back().begin = s->begin;
    else
      out.push_back(*s);
    before_match = s->is_match;
  }
  std::reverse(out.begin(), out.end());
  return out;
}

struct BehaviorRow {
  std::string_view name;
  SplitBehavior apply;
};
constexpr BehaviorRow kBehaviors[] = {
    {"Contiguous", contiguous},
    {"Isolated", isolated},
    {"MergedWithNext", merged_with_next},
    {"MergedWithPrevious", merged_with_previous},
    {"Removed", removed},
};

}  // namespace

SplitBehavior split_behavior(std::string_view name) {
  for (const BehaviorRow& row : kBehaviors) {
    if (row.name == name) return row.apply;
  }
  refuse("the split behavior " + printable(name) + " is not supported");
}

}  // namespace awq::io
