#include "cli/layout_choice.h"

#include <vector>

#include "format/registry.h"

namespace awq::cli {

std::span<const Choice<Layout>> layout_choices() {
  static const std::vector<Choice<Layout>> choices = [] {
    std::vector<Choice<Layout>> rows;
    for (const format::LayoutRow& row : format::layouts()) rows.push_back({row.name, row.layout});
    return rows;
  }();
  return choices;
}

}  // namespace awq::cli
