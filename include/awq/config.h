// What a quantization is: the keys of AutoAWQ's quant_config, and the choices of the search.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace awq {

// On-disk layout of the packed weights; the numbers are rows of format/registry.cc. kCompressedTensorsSym is what a
// symmetric quantization asked for as kCompressedTensors is written as.
enum class Layout { kGemm, kGemv, kGemvFast, kCompressedTensors, kCompressedTensorsSym, kModelopt };

struct QuantConfig {
  int bits = 4;            // `w_bit` / `bits`
  int group_size = 128;    // `q_group_size`: input features that share a scale and a zero point; -1 = all of them
  bool zero_point = true;  // false: symmetric, stored with every zero point at 8 so that every loader takes it
  Layout version = Layout::kGemm;
  std::vector<std::string> modules_to_not_convert;  // substrings of module names that stay in fp16
};

enum class Search { kNone, kPaper, kDuo, kBoth };        // scale candidates; identity is always one of them
enum class Objective { kGram, kModule };                 // kModule: output of the attention / MLP block (AutoAWQ's)
enum class SalientBy { kActivation, kWeight, kRandom };  // how --keep-fp16 ranks input channels

}  // namespace awq
