// Packed layouts as rows: one file each, with its bit diagram beside encode and decode. A layout knows no device.
#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "awq/config.h"
#include "core/dtype.h"
#include "format/quantized_linear.h"

namespace awq::format {

struct EncodedTensor {
  std::string suffix;  // "qweight": the tensor is "<module>.qweight"
  Dtype dtype = Dtype::kI32;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;  // empty where only dtype and shape were asked for
  bool or_bf16 = false;          // of a plan: a reader takes BF16 in place of F16
};

// Whether a tensor that was found may stand where `planned` does.
bool fits(const EncodedTensor& planned, const EncodedTensor& found);

struct LinearSize {
  int64_t n, k;
};

// Gives decode() the tensors of one module; returns nullptr when there is none of that suffix. What it points to must
// live until decode() has returned.
using TensorSource = std::function<const EncodedTensor*(std::string_view suffix)>;

struct LayoutRow {
  Layout layout;
  std::string_view name;          // "gemm": as in quantization_config.version, and as --format takes it
  std::string_view what;          // one line for --help and `awq inspect`
  std::string_view method;        // quantization_config.quant_method
  std::string_view declared_by;   // what quantization_config holds for it
  std::string_view codes;         // suffix of the first planned tensor, the one that every packed linear has
  std::string_view caution = "";  // what whoever writes it should know, or ""
  bool zero_points = true;        // false: only linears whose zero points are all 8
  bool whole_rows = true;         // false: quantization_config cannot say group_size -1
  Layout symmetric;               // the row that a symmetric quantization is written as: mostly this one
  // n and k from the shape of the codes.
  LinearSize (*size)(int64_t rows, int64_t cols);
  // Tensors and shapes for a linear of that size, without data: for planning. Bias, where present, is not listed.
  std::vector<EncodedTensor> (*plan)(int64_t n, int64_t k, int group);
  // "" when a linear of that size can be written, else the reason with the numbers.
  std::string (*refusal)(int64_t n, int64_t k, int group);
  // The planned tensors in order, then "bias" where there is one.
  std::vector<EncodedTensor> (*encode)(const QuantizedLinear&);
  // Error(kBadInput) when tensors are missing, of the wrong dtype, their shapes contradict n, k and group, or a scale
  // or bias is NaN or infinite. A scale of 0 is read as it is; gemv_fast then has no zero point to give back and says
  // 0.
  QuantizedLinear (*decode)(const TensorSource&, int64_t n, int64_t k, int group);
  std::string (*config_json)(const QuantConfig&);  // quantization_config
  // From the planned tensors, whose data it takes: the linear with its codes as they lie, for a GPU to take apart,
  // where decode() could refuse nothing but scales; else nothing. nullptr: never.
  std::optional<StoredLinear> (*stored)(std::vector<EncodedTensor> planned, const TensorSource&, int64_t n, int64_t k,
                                        int group) = nullptr;
  // Tensors, with data, that a module of that name has besides, whatever its weights are.
  std::vector<EncodedTensor> (*extras)(std::string_view module, int64_t k) = nullptr;
  std::string_view side_file = "";  // a file beside config.json that its loaders read, or ""
  std::string (*side_file_text)(const QuantConfig&) = nullptr;
};

// The tensors of one module: those of the plan, then the extras; without and with data, then with "bias" last.
std::vector<EncodedTensor> plan_module(const LayoutRow&, std::string_view module, int64_t n, int64_t k, int group);
std::vector<EncodedTensor> encode_module(const LayoutRow&, std::string_view module, const QuantizedLinear&);

std::span<const LayoutRow> layouts();
const LayoutRow& layout(Layout);
const LayoutRow* find_layout(std::string_view name);  // any case; nullptr when unknown
std::string layout_names();                           // "gemm, gemv, ..."

// quantization_config of the layout `version`, as JSON text.
std::string quantization_config_json(const QuantConfig&);

}  // namespace awq::format
