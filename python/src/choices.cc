#include "choices.h"

#include <fmt/format.h>

#include <cctype>
#include <span>
#include <string_view>

#include "awq/error.h"
#include "format/registry.h"

namespace awq::python {
namespace {

template <class T>
struct Choice {
  std::string_view name;
  T value;
};

constexpr Choice<Search> kSearches[] = {
    {"both", Search::kBoth}, {"duo", Search::kDuo}, {"paper", Search::kPaper}, {"none", Search::kNone}};
constexpr Choice<Objective> kObjectives[] = {{"gram", Objective::kGram}, {"module", Objective::kModule}};
constexpr Choice<SalientBy> kSalient[] = {
    {"activation", SalientBy::kActivation}, {"weight", SalientBy::kWeight}, {"random", SalientBy::kRandom}};

template <class T>
T choose(std::string_view what, std::span<const Choice<T>> rows, const std::string& name) {
  std::string lower, names;
  for (const char c : name) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Choice<T>& row : rows) {
    if (row.name == lower) return row.value;
    names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  throw Error(ErrorKind::kUsage, fmt::format("unknown {} '{}': choose {}", what, name, names));
}

}  // namespace

Layout layout_named(const std::string& name) {
  if (const format::LayoutRow* row = format::find_layout(name)) return row->layout;
  throw Error(ErrorKind::kUsage, fmt::format("unknown layout '{}': choose {}", name, format::layout_names()));
}

Search search_named(const std::string& name) { return choose<Search>("search", kSearches, name); }
Objective objective_named(const std::string& name) { return choose<Objective>("objective", kObjectives, name); }
SalientBy salient_named(const std::string& name) { return choose<SalientBy>("salient_by", kSalient, name); }

}  // namespace awq::python
