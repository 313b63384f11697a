// The calibration windows on the device: their hidden states, the pass through a block, and the statistics of what its
// linears read.
//
// Precision: the residual stream is float32; what enters a product is float16 (normed states, q, k, v, attention, the
// activation), with float32 sums. Against the CPU's float32 that moves a loss by about 1e-5 relative, the same way for
// all candidates. The input of the down projection is kept at 1/16, so that float16 reaches 1e6.
#pragma once
#include <cuda_fp16.h>

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/quant/device_block.h"
#include "backend/cuda/quant/products.h"
#include "backend/cuda/quant/stage_marks.h"
#include "backend/device.h"
#include "model/config.h"

namespace awq::backend::cuda::quant {

inline constexpr size_t kInputs = 4;  // of q k v, of o, of gate up, of down: a group of every architecture reads one

// H and sum |x| of one input of the block.
struct InputStats {
  int64_t k = 0;
  DeviceBuffer gram;     // (k, k) float32, of which the blocks of kBand on and below the diagonal are filled
  DeviceBuffer abs_sum;  // (k) float64
};

class WindowPass {
 public:
  WindowPass(const model::ModelConfig&, const QuantEngineOptions&, std::span<const float> rope_frequencies,
             cudaStream_t, Products&);

  void set_hidden(int64_t first, MatrixView<const float>);
  void get_hidden(int64_t first, MatrixView<float>) const;

  // Reserves all that run() needs: what may find no room must come before the first hidden state changes.
  void prepare(const QuantEngine::Forward&);
  void run(DeviceBlock&, const QuantEngine::Forward&);
  // Halves the windows in flight, when memory is short; false when there is one only. The results stay the same.
  bool shrink();
  const InputStats& stats(size_t group) const { return stats_[input_of_group_[group]]; }
  int64_t tokens() const { return options_.windows * options_.window; }
  bool is_collected(size_t group) const { return stats(group).k > 0; }

  // Squared difference of a module's output on the kept input of `group` when each list of float16 weights stands in
  // for the linears of the same place; null: as loaded.
  struct Replaced {
    std::string_view linear;
    const __half* f16;
  };
  void keep_module_output(size_t group, DeviceBlock&);
  double module_difference(size_t group, DeviceBlock&, std::span<const Replaced>);

 private:
  struct Linear {  // what a product needs of a DeviceLinear
    const __half* w;
    const float* bias;
    int64_t n, k;
  };
  struct Part {  // windows in flight: where they stand among all, and in the buffers of inputs
    int64_t first, count, slot;
  };
  Linear linear_of(DeviceBlock&, std::string_view name, std::span<const Replaced> = {}) const;
  void reserve_buffers();
  void reserve_for(int64_t batch);
  __half* input(size_t which, int64_t window) const;
  float* hidden(int64_t window) const;
  int64_t rows(const Part& part) const { return part.count * options_.window; }

  void forward(DeviceBlock&, const Part&);
  void attention_module(DeviceBlock&, std::span<const Replaced>, const __half* x, __half* attended, float* out,
                        int64_t windows, float beta);
  void mlp_module(DeviceBlock&, std::span<const Replaced>, const __half* x, __half* act, float* out, int64_t windows,
                  float beta);
  void product(const Linear&, const __half* x, int64_t rows, __half* y);
  void add_statistics(int64_t slot, int64_t windows);
  void keep_inputs(std::span<const size_t> groups, const Part&);
  void run_module(size_t group, DeviceBlock&, std::span<const Replaced>, int64_t window, float* out);

  const model::ModelConfig& config_;
  const QuantEngineOptions& options_;
  cudaStream_t stream_;
  Products& products_;
  std::vector<size_t> input_of_group_;
  std::array<InputStats, kInputs> stats_;
  std::array<DeviceBuffer, kInputs> inputs_, kept_;
  DeviceBuffer hidden_, cos_, sin_, q_, k_, v_, gate_, up_, abs_parts_;
  DeviceBuffer reference_, module_out_, difference_parts_, difference_;
  StageMarks marks_;
  int64_t batch_ = 0;     // windows in flight
  int64_t gram_windows_;  // of one step of the statistics, whatever the batch
  int64_t slots_ = 0;     // windows that the buffers of inputs hold: a multiple of gram_windows_
};

}  // namespace awq::backend::cuda::quant
