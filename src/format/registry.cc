#include "format/registry.h"

#include <algorithm>
#include <cctype>

#include "awq/error.h"
#include "core/checked.h"
#include "format/layouts.h"

namespace awq::format {

std::span<const LayoutRow> layouts() {
  static const LayoutRow rows[] = {kGemmRow, kGemvRow, kGemvFastRow, kCompressedTensorsRow,
                                   kCompressedTensorsSymRow};  // in the order of enum class Layout
  return rows;
}

const LayoutRow& layout(Layout which) {
  const size_t i = static_cast<size_t>(which);
  AWQ_ASSERT(i < layouts().size() && layouts()[i].layout == which);
  return layouts()[i];
}

const LayoutRow* find_layout(std::string_view name) {
  const auto same = [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); };
  for (const LayoutRow& row : layouts())
    if (std::equal(row.name.begin(), row.name.end(), name.begin(), name.end(), same)) return &row;
  return nullptr;
}

std::string layout_names() {
  std::string names;
  for (const LayoutRow& row : layouts()) names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

std::string quantization_config_json(const QuantConfig& config) { return layout(config.version).config_json(config); }

}  // namespace awq::format
