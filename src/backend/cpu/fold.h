// Moving a scale into the weights so that the block computes the same function: consumers are multiplied by s[k] along
// their input features, whatever produces the input is divided by s[k].
#pragma once
#include <span>

#include "backend/device.h"
#include "model/architectures.h"

namespace awq::backend::cpu {

// `group.absorbs` is a norm (its weight and bias are divided) or a linear (its rows and bias are). The last |s| rows
// are meant where the producer is fused (qkv, gate_up).
void fold_scale(FloatBlock&, const model::LayerGroup&, std::span<const float> scale);

// w[:, k] *= s[k]
void scale_columns(MatrixView<float> weight, std::span<const float> scale);

}  // namespace awq::backend::cpu
