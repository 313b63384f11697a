// Wider MLPs for engines that cut them (--pad-intermediate): zero rows of gate_proj and up_proj, zero columns of
// down_proj. silu(0) * 0 = 0, so that the model computes what it did, and zeros round to codes that stand for 0
// exactly.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "awq/quantize.h"
#include "model/config.h"

namespace awq::quant {

// The model as it will be written. Error(kUsage) when the asked width is below the model's or beyond reason.
model::ModelConfig padded_config(const model::ModelConfig&, const QuantizeOptions&);

// A row-major tensor of one or two dimensions into the upper left of a larger one, zeros elsewhere.
void copy_padded(std::span<const std::byte> from, std::span<const int64_t> from_shape, std::span<std::byte> to,
                 std::span<const int64_t> to_shape);

}  // namespace awq::quant
