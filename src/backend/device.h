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
#include "awq/error.h"
#include "awq/model.h"
#include "backend/kernel_table.h"
#include "core/dtype.h"
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

// How the next token of a sequence is drawn: what run::Sampler does with these options and this draw.
struct TokenDraw {
  float temperature = 0;  // 0: the most likely token
  int top_k = 0;          // 0 = off
  float top_p = 1;        // 1 = off
  double uniform = 0;     // in [0, 1)
};

// One kind of work of a decoder block, or of what comes after the blocks, for one step of all sequences.
struct StageTime {
  std::string name;    // "q k v", "attention", "lm_head"
  double us = 0;       // of one call, alone: with nothing of its neighbours overlapping
  int64_t calls = 1;   // a step; 0: the whole step, launched at once
  uint64_t bytes = 0;  // that one call must read: weights, keys and values
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
  virtual uint64_t cache_bytes() const = 0;   // bytes of keys and values that a token of context takes

  // Appends as forward() does and draws the next token of every sequence where the logits are: ids[i] for inputs[i], -1
  // where no logit is a number. False, and nothing done, from a backend that leaves drawing to its caller.
  virtual bool next_tokens(std::span<const SequenceInput>, std::span<const TokenDraw>, std::span<int32_t> ids) {
    static_cast<void>(ids);
    return false;
  }
  // Makes room for `tokens` more in every listed slot, so that the loop that appends them does not allocate.
  virtual void reserve(std::span<const int> slots, int64_t tokens) {
    static_cast<void>(slots);
    static_cast<void>(tokens);
  }
  virtual uint64_t memory_bytes() const { return 0; }  // on a device of its own: all that is held there
  // Times every stage of a step that appends one token to `sequences` contexts of `context` tokens; what the slots held
  // is lost. Empty from a backend that cannot take its step apart.
  virtual std::vector<StageTime> time_stages(int sequences, int64_t context) {
    static_cast<void>(sequences);
    static_cast<void>(context);
    return {};
  }
};

// What every executor asks of the inputs of a forward that is to give `rows` rows of logits; throws as forward() says.
void check_inputs(const Executor&, std::span<const SequenceInput>, int64_t capacity, int64_t rows);

struct ExecutorOptions {
  std::string version = "auto";  // see awq::select_kernel
  int slots = 1;
  int64_t capacity = 0;  // tokens a slot can hold; 0 = the model's max_positions (memory grows with use)
  int threads = 0;
  bool ignore_salient = false;
};

// ---- quantizing -----------------------------------------------------------------------------------------------------

// A tensor of a decoder block as the checkpoint holds it, row-major (n, k) for a linear.
struct BlockTensor {
  std::string name;  // within the block: "self_attn.q_proj.weight", "input_layernorm.weight", ...
  std::vector<int64_t> shape;
  Dtype dtype = Dtype::kF32;  // F32, F16, BF16 or F64
  std::span<const std::byte> bytes;
};

// The same in float32.
struct FloatTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> data;
};
struct FloatBlock {
  int64_t layer = 0;
  std::vector<FloatTensor> tensors;
  const FloatTensor* find(std::string_view name) const;
  FloatTensor* find(std::string_view name);
};

// Of the input that a group of linears reads, over all calibration tokens.
struct InputSummary {
  int64_t tokens = 0;
  std::vector<double> abs_sum;  // (k)  sum over tokens of |x|
};

// A linear that gets quantized.
struct SearchedLinear {
  std::string name;                // within the block: "self_attn.q_proj"
  std::vector<int32_t> corrected;  // input channels, ascending, whose rounding error --keep-fp16 undoes: do not count
};

struct PackedLinear {
  format::QuantizedLinear packed;
  format::SalientColumns salient;  // of the corrected channels
};

struct QuantEngineOptions {
  int threads = 0;              // of the host; 0 = all cores
  int64_t windows = 0;          // of calibration text ...
  int64_t window = 0;           // ... of so many tokens
  format::Grid grid;            // group 0 = one group a row
  bool scores_modules = false;  // module_losses will be called
  int64_t batch = 0;            // windows in flight where the engine lets that be chosen; 0 = its own choice
  // Of an engine with memory of its own: how much it may take (0 = all that is free), and whether the weights stay on
  // the host and come linear by linear: slower, for a card that is too small for a block. Neither changes a result.
  uint64_t device_memory = 0;
  bool streams_linears = false;
};

// Of a tensor of a block, for load_block: how many values are not finite, and where the first one is.
Error not_finite(int64_t layer, std::string_view tensor, uint64_t count, uint64_t first);

// What an engine is expected to need at most, bytes.
struct QuantMemory {
  uint64_t host = 0;    // the whole process
  uint64_t device = 0;  // 0 where there is none
  // What makes it fit into `device_available` bytes, for QuantEngineOptions.
  uint64_t device_available = 0;
  int64_t batch = 0;
  bool streams_linears = false;
};

// The arithmetic of quantization. The engine owns what is large, where it computes: the hidden states of all windows,
// one block of weights, the Gram matrix H = sum over tokens of x x' of each distinct input of the block. Groups are
// numbered as in Architecture::groups. Results depend neither on the number of threads nor on the batch.
//
// Order of calls: set_hidden for all tokens; then for each block load_block, forward_block and, where it is to be
// quantized, the searches of all groups (on the weights as loaded), clip, fold, and last pack and folded.
class QuantEngine {
 public:
  virtual ~QuantEngine() = default;

  // Flop a second of the products that take most of the time: what the duration of a job is estimated from.
  virtual double measure_flops() = 0;

  // Host memory that load_block reads fastest. Any thread may ask for it, beside any other call.
  virtual std::shared_ptr<std::byte[]> host_memory(uint64_t bytes) = 0;

  // Hidden states (rows, hidden) of the tokens from `first` on.
  virtual void set_hidden(int64_t first, MatrixView<const float>) = 0;
  virtual void get_hidden(int64_t first, MatrixView<float>) const = 0;

  // Copies the tensors; Error(kBadInput) naming the one that holds a value that is not finite.
  virtual void load_block(int64_t layer, std::span<const BlockTensor>) = 0;

  // The hidden states become the block's output. `collect` starts the statistics anew; of the groups in `keep_inputs`
  // the input itself is kept for module_losses. `poll` is called now and then; it may throw to stop.
  // `timed` is told the seconds since the call between which "forward", the pass itself, and "gram", the statistics,
  // took place.
  struct Forward {
    bool collect = false;
    std::span<const size_t> keep_inputs = {};
    std::function<void()> poll = {};
    std::function<void(std::string_view stage, double begin, double end)> timed = {};
  };
  virtual void forward_block(const Forward&) = 0;
  virtual InputSummary input(size_t group) const = 0;

  // Mean over all rows of the linears of |w| / (max|w| of its row's group + 1e-6): (k).
  virtual std::vector<float> weight_mean(std::span<const SearchedLinear>) = 0;
  virtual std::vector<float> column_squares(std::string_view linear) = 0;  // sum over rows of w^2: (k)

  // tr(dW H dW') with dW = Q(W diag(s)) diag(1/s) - W for every linear of the group and candidate s: (linears,
  // candidates).
  virtual std::vector<double> scale_losses(size_t group, std::span<const SearchedLinear>,
                                           std::span<const std::vector<float>> candidates) = 0;

  // Squared difference that rounding all these linears makes to the output of the module that the group is scored on
  // (Objective::kModule), for every candidate.
  virtual std::vector<double> module_losses(size_t group, std::span<const SearchedLinear>,
                                            std::span<const std::vector<float>> candidates) = 0;

  // Searches, for each row and group of W diag(scale), the clamp of max|w| * (1 - i/20), i = 0..9, with the least error
  // over the group alone. The limits are kept when the linear's loss with them is below `loss`; returns the lesser.
  virtual double clip(size_t group, const SearchedLinear&, std::span<const float> scale, double loss) = 0;

  // Moves a scale into the weights so that the block computes the same function: the group's linears are multiplied by
  // it along k, what absorbs it (and its limits) is divided by it, the last |scale| rows where that has more.
  virtual void fold(size_t group, std::span<const float> scale) = 0;

  // What `to` held is lost, its memory is used again: fresh memory costs more than the packing.
  virtual void pack(const SearchedLinear&, PackedLinear& to) = 0;
  PackedLinear pack(const SearchedLinear& linear) {
    PackedLinear packed;
    pack(linear, packed);
    return packed;
  }
  virtual FloatTensor folded(std::string_view tensor) = 0;  // what is not quantized, scales folded in
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual std::span<const KernelTraits> kernels() const = 0;
  virtual QuantMemory quant_memory(const model::ModelConfig&, const QuantEngineOptions&) const = 0;
  // The configuration must outlive the engine.
  virtual std::unique_ptr<QuantEngine> quant_engine(const model::ModelConfig&, const QuantEngineOptions&) = 0;
  virtual std::unique_ptr<Executor> load_executor(const io::Checkpoint&, const model::ModelConfig&,
                                                  const ExecutorOptions&) = 0;
};

// backend/registry.cc: the list of backends. `name`: "auto", "cpu", "cuda", "cuda:1". Error(kDevice) with the reason.
std::unique_ptr<Device> open_device(std::string_view name);

}  // namespace awq::backend
