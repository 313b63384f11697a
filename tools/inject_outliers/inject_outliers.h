// Gives a small model the outlier channels of a large one without changing what it computes: a few channels of a norm's
// weight times 2^p, the matching input columns of the linears that read the norm times 2^-p. Products of the two are
// the same numbers bit for bit, because powers of two only move exponents; activations between them get outliers, and
// that is what plain rounding suffers from and activation-aware scaling cures.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace awq::tools {

struct InjectOptions {
  std::string model;          // folder, or org/name in the local Hugging Face cache; float weights
  std::filesystem::path out;  // folder to create
  double fraction = 0.01;     // of each norm's channels, at least one
  int factor = 32;            // a power of two
  uint64_t seed = 0;
  bool force = false;  // replace an existing output
};

// Norm -> the channels that were multiplied, ascending; also written to inject_outliers.json in the output.
using Channels = std::map<std::string, std::vector<int64_t>>;

// Error(kBadInput) when a weight cannot be scaled exactly in its own dtype.
Channels inject_outliers(const InjectOptions&);

}  // namespace awq::tools
