// What a backend promises. A backend is one folder (backend/cpu, backend/cuda) that implements these two roles:
//   Executor      runs a model: tokens in, logits out, with its own weights, caches and kernels;
//   QuantEngine   supplies the arithmetic of quantization for one block at a time.
// run/ and quant/ speak only to these. All spans are host memory; how a backend moves them is its own business.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "awq/devices.h"
#include "awq/model.h"
#include "backend/kernel_table.h"
#include "core/matrix_view.h"
#include "format/quantized_linear.h"
#include "format/rounding.h"
#include "format/salient.h"
#include "model/config.h"

namespace awq::io {
class Checkpoint;
}

namespace awq::backend {

// ---- running --------------------------------------------------------------------------------------------------------

// Sequences are numbered slots; each has its own context. A forward appends `tokens` to every listed sequence.
struct SequenceInput {
  int slot = 0;
  std::span<const int32_t> tokens;  // new tokens, at least one
  bool all_logits = false;          // logits of every new token, else of the last one only
};

class Executor {
 public:
  virtual ~Executor() = default;
  virtual const model::ModelConfig& config() const = 0;
  // Logits of the asked positions in order, (rows, vocab). Error(kBadInput) for ids outside the vocabulary or a context
  // longer than the capacity given to load_executor.
  virtual void forward(std::span<const SequenceInput> inputs, MatrixView<float> logits) = 0;
  virtual void reset(int slot) = 0;  // empties its context
  virtual int64_t length(int slot) const = 0;
  virtual std::string kernels() const = 0;    // which rows run, one line
  virtual uint64_t weight_bytes() const = 0;  // bytes of weights that one token reads
};

struct ExecutorOptions {
  std::string version = "auto";  // see awq::select_kernel
  int slots = 1;
  int64_t capacity = 0;  // tokens a slot can hold; 0 = the model's max_positions (memory grows with use)
  int threads = 0;
  bool ignore_salient = false;
};

// ---- quantizing -----------------------------------------------------------------------------------------------------

// Float weights of one decoder block, row-major (n, k) per linear; names within the block ("self_attn.q_proj").
struct FloatTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> data;
};
struct FloatBlock {
  int64_t layer = 0;
  std::vector<FloatTensor> tensors;  // "input_layernorm.weight", "self_attn.q_proj.weight", ...
  const FloatTensor* find(std::string_view name) const;
  FloatTensor* find(std::string_view name);
};

// Statistics of the input that a group of linears reads: one per distinct input of a block.
struct InputStats {
  int64_t k = 0, tokens = 0;
  std::vector<double> abs_sum;  // (k)     sum over tokens of |x|
  std::vector<float> gram;      // (k, k)  sum over tokens of x x', symmetric, both halves filled
};

// Arithmetic of the search for one block at a time. Results do not depend on the number of threads.
// A `corrected` list names input channels (ascending) whose rounding error --keep-fp16 undoes: they do not count.
class QuantEngine {
 public:
  virtual ~QuantEngine() = default;

  // Flop a second of a float32 product of a tenth of a second or less: what the time of a job is estimated from.
  virtual double measure_flops() = 0;

  // hidden (windows * window, hidden) becomes the block's output. With `stats`: one entry per architecture group, over
  // all tokens; with `inputs` too: a copy of the input (t, k) of the groups listed in `keep_inputs`.
  struct Collect {
    std::vector<InputStats>* stats = nullptr;
    std::span<const size_t> keep_inputs;
    std::vector<std::vector<float>>* inputs = nullptr;  // per group; empty where not kept
    std::function<void()> poll;                         // called now and then; may throw to stop
  };
  virtual void forward_block(const FloatBlock&, MatrixView<float> hidden, int64_t window, const Collect&) = 0;

  // tr(dW H dW') with dW = Q(W diag(s)) diag(1/s) - W, for every weight and candidate s: (weights, candidates).
  virtual std::vector<double> scale_losses(std::span<const MatrixView<const float>> weights, const InputStats&,
                                           std::span<const std::vector<float>> candidates, const format::Grid&,
                                           std::span<const int32_t> corrected) = 0;

  // The same for given limits: |w| is clamped to limits (n, k / group) before rounding; empty = not clamped.
  virtual double loss(MatrixView<const float> weight, const InputStats&, std::span<const float> limits,
                      const format::Grid&, std::span<const int32_t> corrected) = 0;

  // For each row and group the clamp (n, k / group), of max|w| * (1 - i/20), i = 0..9, with the least error over the
  // group alone.
  virtual std::vector<float> clip_limits(MatrixView<const float> weight, const InputStats&, const format::Grid&,
                                         std::span<const int32_t> corrected) = 0;

  virtual format::QuantizedLinear quantize(MatrixView<const float> weight, std::span<const float> limits,
                                           const format::Grid&) = 0;

  // Output of the attention module or the MLP for its normed input (t, hidden), with the weights of `block`: what
  // Objective::kModule compares.
  virtual void module_output(const FloatBlock& block, std::string_view module, MatrixView<const float> input,
                             int64_t window, MatrixView<float> output) = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual std::span<const KernelTraits> kernels() const = 0;
  virtual std::unique_ptr<QuantEngine> quant_engine(const model::ModelConfig&, int threads) = 0;
  virtual std::unique_ptr<Executor> load_executor(const io::Checkpoint&, const model::ModelConfig&,
                                                  const ExecutorOptions&) = 0;
};

// backend/registry.cc: the list of backends. `name`: "auto", "cpu", "cuda", "cuda:1". Error(kDevice) with the reason.
std::unique_ptr<Device> open_device(std::string_view name);

}  // namespace awq::backend
