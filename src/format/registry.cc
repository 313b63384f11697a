#include "format/registry.h"

#include <algorithm>
#include <cctype>
#include <iterator>

#include "awq/error.h"
#include "core/checked.h"
#include "format/layouts.h"

namespace awq::format {

std::span<const LayoutRow> layouts() {
  static const LayoutRow rows[] = {kGemmRow,    kGemvRow, kGemvFastRow, kCompressedTensorsRow, kCompressedTensorsSymRow,
                                   kModeloptRow};  // in the order of enum class Layout
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

std::vector<EncodedTensor> plan_module(const LayoutRow& row, std::string_view module, int64_t n, int64_t k, int group) {
  std::vector<EncodedTensor> tensors = row.plan(n, k, group);
  if (row.extras == nullptr) return tensors;
  for (EncodedTensor& extra : row.extras(module, k)) {
    extra.bytes.clear();
    tensors.push_back(std::move(extra));
  }
  return tensors;
}

std::vector<EncodedTensor> encode_module(const LayoutRow& row, std::string_view module, const QuantizedLinear& w) {
  std::vector<EncodedTensor> tensors = row.encode(w);
  if (row.extras == nullptr) return tensors;
  const auto bias = tensors.begin() + std::ssize(row.plan(w.n, w.k, w.group));
  std::vector<EncodedTensor> extras = row.extras(module, w.k);
  tensors.insert(bias, std::make_move_iterator(extras.begin()), std::make_move_iterator(extras.end()));
  return tensors;
}

std::string quantization_config_json(const QuantConfig& config) { return layout(config.version).config_json(config); }

}  // namespace awq::format
