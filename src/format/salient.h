// The fp16 correction of --keep-fp16: a side file `awq_salient.safetensors` that no index names, so that other loaders
// do not see it. For each linear: the salient input channels and, for those, original minus dequantized weight.
//
//   <module>.salient_index   I32 (c)      ascending channel numbers
//   <module>.salient_delta   F16 (c, n)   y += x[index] . delta
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/half.h"
#include "io/safetensors.h"

namespace awq::format {

inline constexpr const char* kSalientFile = "awq_salient.safetensors";

struct SalientColumns {
  std::vector<int32_t> index;  // (c), ascending, each in [0, k)
  std::vector<f16_t> delta;    // (c, n)
  bool empty() const { return index.empty(); }
};

// Error(kBadInput) when indices are out of range or not ascending, or shapes contradict n and k. Empty when the module
// has none.
SalientColumns read_salient(const io::SafetensorsFile&, const std::string& module, int64_t n, int64_t k);
std::vector<io::TensorSpec> salient_specs(const std::string& module, int64_t count, int64_t n);

}  // namespace awq::format
