#include "backend/cpu/rope.h"

#include <cmath>
#include <numbers>

namespace awq::backend::cpu {
namespace {

// Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended linearly in the number
// of turns that fit into the original context.
double llama3_scaled(const model::Rope& rope, double frequency) {
  const double turns = static_cast<double>(rope.original_max_position) * frequency / (2 * std::numbers::pi);
  if (turns < rope.low_freq_factor) return frequency / rope.factor;
  if (turns > rope.high_freq_factor) return frequency;
  const double smooth = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * frequency / rope.factor + smooth * frequency;
}

double scaled(const model::Rope& rope, double frequency) {
  switch (rope.type) {
    case model::RopeType::kDefault: return frequency;
    case model::RopeType::kLinear: return frequency / rope.factor;
    case model::RopeType::kLlama3: return llama3_scaled(rope, frequency);
  }
  return frequency;
}

}  // namespace

std::vector<float> rope_frequencies(const model::Rope& rope, int64_t head_dim) {
  std::vector<float> out;
  for (int64_t i = 0; i < head_dim; i += 2) {
    const double exponent = static_cast<double>(i) / static_cast<double>(head_dim);
    out.push_back(static_cast<float>(scaled(rope, std::pow(rope.theta, -exponent))));
  }
  return out;
}

RopeTable::RopeTable(const model::Rope& rope, int64_t head_dim) : frequencies_(rope_frequencies(rope, head_dim)) {}

void RopeTable::extend(int64_t positions) {
  for (int64_t p = static_cast<int64_t>(cos_.size()) / half(); p < positions; ++p)
    for (const float f : frequencies_) {
      const float angle = static_cast<float>(p) * f;  // rounded to float32 first, as in training
      cos_.push_back(static_cast<float>(std::cos(double{angle})));
      sin_.push_back(static_cast<float>(std::sin(double{angle})));
    }
}

}  // namespace awq::backend::cpu
