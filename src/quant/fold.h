// Moving a scale into the weights so that the block computes the same function: consumers are multiplied by s[k] along
// their input features, whatever produces the input is divided by s[k].
#pragma once
#include <span>
#include <string_view>

#include "backend/device.h"
#include "model/architectures.h"

namespace awq::quant {

// `group.absorbs` is a norm (its weight and bias are divided) or a linear (its rows and bias are). The last |s| rows
// are meant where the producer is fused (qkv, gate_up).
void fold_scale(backend::FloatBlock&, const model::LayerGroup&, std::span<const float> scale);

// The block with only the group's linears replaced, for scoring a module: w[:, k] *= s[k], rounded, w[:, k] /= s[k].
void scale_columns(MatrixView<float> weight, std::span<const float> scale);

// "" when the group may be scaled, else the reason: its producer and consumer disagree in width (grouped-query
// attention).
std::string cannot_fold(const backend::FloatBlock&, const model::LayerGroup&);

}  // namespace awq::quant
