#include "backend/cuda/run/device_model.h"

#include <algorithm>
#include <deque>
#include <future>
#include <set>
#include <thread>
#include <utility>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/run/dense.h"
#include "core/checked.h"
#include "model/architectures.h"

namespace awq::backend::cuda {
namespace {

constexpr uint64_t kSliceBytes = 64u << 20;  // of an embedding table, read at a time
constexpr int kMostReaders = 8;              // linears being read and decoded ahead of the one on its way to the device

// What each linear of the running model is put together from, in the order of model::block_linears.
struct FusedRow {
  RunLinear DeviceBlock::*linear;
  size_t first, count;
  bool in_turn = false;  // their rows (host_linear.h)
};
constexpr FusedRow kFused[] = {{&DeviceBlock::qkv, 0, 3},
                               {&DeviceBlock::o, 3, 1},
                               {&DeviceBlock::gate_up, 4, 2, true},
                               {&DeviceBlock::down, 6, 1}};

class Loader {
 public:
  Loader(const ExecutorRequest& request, const WeightSource& source, const Gpu& gpu, cudaStream_t stream)
      : request_(request), config_(request.config), source_(source), gpu_(gpu), stream_(stream) {}

  DeviceModel load() {
    DeviceModel model;
    read_ahead();
    model.embedding = matrix("model.embed_tokens.weight");
    model.head = config_.tied_embeddings ? model.embedding : matrix("lm_head.weight");
    model.final_norm = floats("model.norm.weight");
    model.blocks.resize(static_cast<size_t>(config_.layers));
    for (int64_t layer = 0; layer < config_.layers; ++layer)
      load_block(layer, model.blocks[static_cast<size_t>(layer)]);
    return model;
  }

 private:
  DeviceBuffer floats(const std::string& tensor) const {
    const std::vector<float> values = source_.read_f32(tensor);
    DeviceBuffer out;
    out.reserve(values.size() * sizeof(float));
    check_cuda(cudaMemcpy(out.as(), values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice),
               "copying weights to the device");
    return out;
  }

  // In slices, several being read while one is copied.
  std::shared_ptr<DeviceBuffer> matrix(const std::string& tensor) const {
    const int64_t rows = config_.vocab, columns = config_.hidden;
    const int64_t step = std::clamp<int64_t>(static_cast<int64_t>(kSliceBytes) / (columns * 2), 1, rows);
    auto out = std::make_shared<DeviceBuffer>();
    out->reserve(checked_mul(checked_mul(rows, columns, "an embedding table"), sizeof(f16_t), "an embedding table"));
    std::deque<std::future<std::vector<f16_t>>> slices;
    int64_t next = 0;
    for (int64_t first = 0; first < rows; first += step) {
      for (; next < rows && std::ssize(slices) < readers(); next += step)
        slices.push_back(std::async(std::launch::async, [=, this] {
          const int64_t count = std::min(step, rows - next);
          std::vector<f16_t> slice(static_cast<size_t>(count * columns));
          source_.read_f16(tensor, next, count, slice);
          return slice;
        }));
      const std::vector<f16_t> slice = slices.front().get();
      slices.pop_front();
      check_cuda(cudaMemcpy(out->as<f16_t>() + first * columns, slice.data(), slice.size() * sizeof(f16_t),
                            cudaMemcpyHostToDevice),
                 "copying weights to the device");
    }
    return out;
  }

  void load_block(int64_t layer, DeviceBlock& block) {
    const std::string prefix = model::block_prefix(layer);
    block.input_norm = floats(prefix + "input_layernorm.weight");
    block.post_attention_norm = floats(prefix + "post_attention_layernorm.weight");
    if (config_.arch->qk_norm) {
      block.q_norm = floats(prefix + "self_attn.q_norm.weight");
      block.k_norm = floats(prefix + "self_attn.k_norm.weight");
    }
    for (const FusedRow& row : kFused) {
      read_ahead();
      const HostLinear host = reading_.front().get();
      reading_.pop_front();
      block.*row.linear = RunLinear(host, request_.options.version, gpu_, space_, stream_);
    }
  }

  static int readers() { return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostReaders); }

  // Keeps linears in the making, in the order in which load() wants them.
  void read_ahead() {
    while (std::ssize(reading_) < readers() && next_ < config_.layers * std::ssize(kFused)) {
      const int64_t layer = next_ / std::ssize(kFused);
      const FusedRow& row = kFused[next_ % std::ssize(kFused)];
      ++next_;
      reading_.push_back(std::async(std::launch::async, [this, layer, &row] { return read(layer, row); }));
    }
  }

  HostLinear read(int64_t layer, const FusedRow& row) const {
    const std::vector<model::LinearShape> shapes = model::block_linears(config_);
    std::vector<LinearPart> parts;
    for (size_t i = row.first; i < row.first + row.count; ++i)
      parts.push_back({model::block_prefix(layer) + shapes[i].name, shapes[i].n, shapes[i].bias});
    return read_linear(source_, parts, shapes[row.first].k, row.in_turn, request_.options.version == "auto");
  }

  const ExecutorRequest& request_;
  const model::ModelConfig& config_;
  const WeightSource& source_;
  Gpu gpu_;
  cudaStream_t stream_;
  UploadSpace space_;
  int64_t next_ = 0;                             // linears whose reading has begun
  std::deque<std::future<HostLinear>> reading_;  // last: nothing is read any more when the rest goes
};

}  // namespace

uint64_t DeviceModel::bytes_a_token() const { return final_norm.bytes() + head->bytes() + block_bytes(); }

uint64_t DeviceModel::block_bytes() const {
  uint64_t bytes = 0;
  for (const DeviceBlock& b : blocks) {
    bytes += b.input_norm.bytes() + b.post_attention_norm.bytes() + b.q_norm.bytes() + b.k_norm.bytes();
    for (const RunLinear* linear : {&b.qkv, &b.o, &b.gate_up, &b.down}) bytes += linear->bytes();
  }
  return bytes;
}

uint64_t DeviceModel::device_bytes() const { return bytes_a_token() + (embedding == head ? 0 : embedding->bytes()); }

size_t DeviceModel::workspace_bytes(int64_t rows) const {
  size_t most = rows > kFewDenseRows ? kCublasLtWorkspace : 0;
  std::set<std::pair<int64_t, int64_t>> seen;  // the same shapes need the same
  for (const DeviceBlock& b : blocks)
    for (const RunLinear* linear : {&b.qkv, &b.o, &b.gate_up, &b.down})
      if (seen.insert({linear->n(), linear->k()}).second) most = std::max(most, linear->workspace_bytes(rows));
  return most;
}

DeviceModel load_model(const ExecutorRequest& request, const WeightSource& source, const Gpu& gpu,
                       cudaStream_t stream) {
  return Loader(request, source, gpu, stream).load();
}

}  // namespace awq::backend::cuda
