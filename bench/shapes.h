// The linears of well-known models, and shapes as they are named on a command line.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace awq::bench {

struct LinearShape {
  int64_t n = 0, k = 0;      // output and input features
  std::string used_by = {};  // "llama2-7b o, llama3-8b o"; empty for a shape given as NxK
};

struct ModelLinear {
  std::string_view name;
  int64_t n, k;
};
// Linears that read the same input run as one: q, k and v; gate and up.
struct ModelShapes {
  std::string_view name;
  int layers;
  std::array<ModelLinear, 4> linears;  // of one layer, in the order they run
};
std::span<const ModelShapes> model_shapes();
const ModelShapes& find_model_shapes(std::string_view name);  // throws Error(kUsage) with the known names

// "llama3-8b,4096x11008": models and NxK in any order, each shape once. Throws Error(kUsage).
std::vector<LinearShape> parse_shapes(std::string_view);
std::string to_string(const LinearShape&);  // "4096x11008"

// "1,8,512" ascending, each once. Throws Error(kUsage).
std::vector<int64_t> parse_tokens(std::string_view);

}  // namespace awq::bench
