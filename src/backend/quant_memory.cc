#include "backend/quant_memory.h"

#include <algorithm>

#include "core/thread_pool.h"
#include "model/architectures.h"

namespace awq::backend {
namespace {

struct BlockSizes {
  uint64_t weights = 0, largest_linear = 0;
  uint64_t widest = 0, inputs = 0, gram = 0;  // of the distinct inputs: the largest k, the sums of k and of k^2
};

BlockSizes block_sizes(const model::ModelConfig& c) {
  BlockSizes s;
  for (const model::LinearShape& l : model::block_linears(c)) {
    const uint64_t count = static_cast<uint64_t>(l.n) * static_cast<uint64_t>(l.k);
    s.weights += count;
    s.largest_linear = std::max(s.largest_linear, count);
    s.widest = std::max<uint64_t>(s.widest, l.k);
    for (const model::LayerGroup& g : c.arch->groups)
      if (l.name == g.linears[0]) s.gram += static_cast<uint64_t>(l.k) * l.k, s.inputs += l.k;
  }
  return s;
}

// Read, stored as two bytes a weight; codes of two blocks (one being written) and what one becomes in the file.
uint64_t pipeline_bytes(const BlockSizes& s) { return s.weights * 2 + s.weights * 2 + s.weights / 2; }

}  // namespace

QuantMemory cpu_quant_memory(const model::ModelConfig& c, const QuantEngineOptions& o) {
  const BlockSizes s = block_sizes(c);
  const uint64_t tokens = static_cast<uint64_t>(o.windows) * o.window;
  const uint64_t threads = o.threads > 0 ? o.threads : available_cores();
  constexpr uint64_t kFixed = uint64_t{96} << 20;  // program, oneDNN's generated code, tokenizer, text
  uint64_t bytes = kFixed + pipeline_bytes(s);
  bytes += tokens * c.hidden * 4;                           // hidden states of all windows
  bytes += s.weights * 4 + s.largest_linear * 5;            // the block; a scaled copy of one linear
  bytes += (s.gram + s.widest * s.widest) * 4;              // H of every input, a scaled copy of one
  bytes += threads * 2 * 128 * s.widest * 4;                // dW and dW H of a task
  bytes += 4096 * (c.hidden * 4 + c.intermediate * 3) * 4;  // activations of the windows in flight
  if (o.scores_modules) bytes += 3 * tokens * c.hidden * 4 + s.weights * 4;
  QuantMemory memory;
  memory.host = bytes;
  return memory;
}

namespace {

// The sizes of backend/cuda/quant: kGramTokens of window_pass.cc, kTileRows of scale_search.cc.
QuantMemory cuda_memory(const model::ModelConfig& c, const QuantEngineOptions& o) {
  const BlockSizes s = block_sizes(c);
  const uint64_t tokens = static_cast<uint64_t>(o.windows) * o.window, window = o.window;
  const uint64_t in_flight = o.batch * window, step = std::max<uint64_t>(4096 / window, 1) * window;
  const uint64_t slots = (in_flight + step - 1) / step * step;
  const uint64_t on_device = o.streams_linears ? s.largest_linear : s.weights;
  constexpr uint64_t kCandidates = 40, kTileRows = 8192, kBand = 1024;
  uint64_t bytes = kCudaContextBytes;
  bytes += tokens * c.hidden * 4;                 // hidden states of all windows
  bytes += on_device * 4;                         // weights as stored and as float16
  bytes += s.gram * 4 + s.widest * s.widest * 2;  // H of every input, one normalised
  bytes += slots * s.inputs * 2;                  // what the linears read
  bytes += in_flight * ((c.heads + 2 * c.kv_heads) * c.head_dim + 2 * c.intermediate) * 2;
  bytes += kTileRows * (s.widest * 2 + kBand * 4) + kCandidates * s.widest * 8;  // D, P, scales
  bytes += s.largest_linear * 2;                                                 // codes, sums, limits
  if (o.scores_modules) bytes += 2 * tokens * c.hidden * 2 + tokens * c.hidden * 4 + s.weights * 2;
  constexpr uint64_t kFixed = uint64_t{900} << 20;  // the driver's, libraries, tokenizer, text
  QuantMemory memory;
  memory.host = kFixed + pipeline_bytes(s) + (o.streams_linears ? s.weights * 2 : 0);
  memory.device = bytes;
  memory.batch = o.batch;
  memory.streams_linears = o.streams_linears;
  return memory;
}

}  // namespace

QuantMemory cuda_quant_memory(const model::ModelConfig& c, const QuantEngineOptions& asked, uint64_t available) {
  constexpr int64_t kUsualTokens = 4096;  // in flight: of window_pass.cc
  QuantEngineOptions o = asked;
  const int64_t usual = asked.batch > 0 ? asked.batch : std::max<int64_t>(1, kUsualTokens / asked.window);
  QuantMemory plan;
  for (const bool streams : {false, true})
    for (o.batch = std::max<int64_t>(1, std::min(usual, asked.windows)); o.batch > 0; o.batch /= 2) {
      o.streams_linears = streams;
      plan = cuda_memory(c, o);
      plan.device_available = available;
      if (plan.device <= available) return plan;
    }
  return plan;
}

}  // namespace awq::backend
