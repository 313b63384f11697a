// The decoder block of the llama family on the CPU, float32, over linears of any kind: the executor runs it with
// quantized linears and a cache, calibration with float weights and an observer.
//
//   h += o(attention(rope(q(x)), rope(k(x)), v(x))),  x = norm(h)
//   h += down(silu(gate(y)) * up(y)),                 y = norm(h)
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "backend/device.h"
#include "core/matrix_view.h"
#include "core/thread_pool.h"
#include "model/config.h"

namespace awq::backend::cpu {

// One pass of float weights over whole windows (no cache): hidden (windows * window, hidden) is replaced by the block's
// output; `observe(group, x)` sees, for each LayerGroup of the architecture by index, the input of its linears (t, k).
// It is called in the calling thread, a few windows at a time in a fixed order, and may use the pool; it may be empty.
using Observe = std::function<void(size_t group, MatrixView<const float> x)>;
void forward_float_block(ThreadPool&, const model::ModelConfig&, const FloatBlock&, MatrixView<float> hidden,
                         int64_t window, const Observe& observe);

// The two modules of the block by themselves, from their normed input x (windows * window, hidden) to their output
// before the residual is added: what Objective::kModule scores.
void float_attention(ThreadPool&, const model::ModelConfig&, const FloatBlock&, MatrixView<const float> x,
                     int64_t window, MatrixView<float> out);
void float_mlp(ThreadPool&, const model::ModelConfig&, const FloatBlock&, MatrixView<const float> x,
               MatrixView<float> out);

}  // namespace awq::backend::cpu
