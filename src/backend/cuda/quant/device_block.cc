#include "backend/cuda/quant/device_block.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "backend/cuda/quant/weights_launch.h"
#include "core/checked.h"
#include "io/convert.h"
#include "model/architectures.h"

namespace awq::backend::cuda::quant {
namespace {

constexpr int64_t kAlign = 256;  // bytes: where each tensor begins
constexpr std::string_view kWeight = ".weight", kBias = ".bias";

int64_t aligned(int64_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

bool is_linear(const BlockTensor& t) { return t.shape.size() == 2; }

// float64 is rare and kept as float32.
Stored stored_as(Dtype dtype) {
  return dtype == Dtype::kF16 ? Stored::kF16 : dtype == Dtype::kBF16 ? Stored::kBF16 : Stored::kF32;
}

FloatTensor widened(const BlockTensor& from, int64_t layer) {
  FloatTensor t{from.name, from.shape, std::vector<float>(from.bytes.size() / dtype_bytes(from.dtype))};
  io::convert_to_f32(from.dtype, from.bytes.data(), t.data);
  const auto bad = [](float v) { return !std::isfinite(v); };
  const auto first = std::ranges::find_if(t.data, bad);
  if (first != t.data.end())
    throw not_finite(layer, t.name, static_cast<uint64_t>(std::ranges::count_if(t.data, bad)),
                     static_cast<uint64_t>(first - t.data.begin()));
  return t;
}

// Bytes of a linear as it is stored on the device, and as float16 beside that.
struct Sizes {
  int64_t stored = 0, halves = 0;
};

Sizes sizes_of(const BlockTensor& t) {
  const int64_t count = t.shape[0] * t.shape[1];
  const Stored type = stored_as(t.dtype);
  AWQ_ASSERT(static_cast<uint64_t>(count) * dtype_bytes(t.dtype) == t.bytes.size());
  return {aligned(count * bytes_of(type)), type == Stored::kF16 ? 0 : aligned(count * 2)};
}

}  // namespace

void DeviceBlock::upload_floats(DeviceBuffer& to, std::span<const float> from) {
  to.reserve(from.size_bytes());
  check_cuda(cudaMemcpyAsync(to.as(), from.data(), from.size_bytes(), cudaMemcpyHostToDevice, stream_),
             "uploading weights");
}

void DeviceBlock::load(int64_t layer, std::span<const BlockTensor> tensors) {
  layer_ = layer;
  check_cuda(cudaStreamSynchronize(stream_), "loading a block");  // what is on the host may still be uploading
  load_vectors(tensors);
  load_matrices(tensors);
  inspect_linears();
}

DeviceLinear& DeviceBlock::slot(std::string_view name) {
  const auto found = std::ranges::find(linears_, name, &DeviceLinear::name);
  if (found != linears_.end()) return *found;
  linears_.emplace_back().name = name;
  return linears_.back();
}

void DeviceBlock::load_matrices(std::span<const BlockTensor> tensors) {
  Sizes sum, largest;
  for (const BlockTensor& t : tensors) {
    if (!is_linear(t)) continue;
    const Sizes s = sizes_of(t);
    sum = {sum.stored + s.stored, sum.halves + s.halves};
    largest = {std::max(largest.stored, s.stored), std::max(largest.halves, s.halves)};
  }
  if (streams_) host_.reserve(sum.stored);
  const Sizes on_device = streams_ ? largest : sum;
  stored_.reserve(on_device.stored);
  halves_.reserve(on_device.halves);
  Sizes at;
  for (const BlockTensor& t : tensors) {
    if (!is_linear(t)) continue;
    place(t, at.stored, at.halves);
    const Sizes s = sizes_of(t);
    at = {at.stored + s.stored, at.halves + s.halves};
  }
}

// Its weights go to where they stay: the device, or the host.
void DeviceBlock::place(const BlockTensor& t, int64_t stored, int64_t halves) {
  const std::string_view name = std::string_view(t.name).substr(0, t.name.size() - kWeight.size());
  DeviceLinear& to = slot(name);
  to.weight = {stored_.as<std::byte>(streams_ ? 0 : stored), stored_as(t.dtype), t.shape[0], t.shape[1]};
  to.f16 = to.weight.type == Stored::kF16 ? static_cast<const __half*>(to.weight.data)
                                          : halves_.as<__half>(streams_ ? 0 : halves);
  to.bias = vector(std::string(name).append(kBias), 0);
  to.scaled = to.divided = to.clipped = false;
  to.host_offset = stored;
  std::span<const std::byte> bytes = t.bytes;
  if (t.dtype == Dtype::kF64) {
    staged_wide_.resize(to.weight.n * to.weight.k);
    io::convert_to_f32(t.dtype, t.bytes.data(), staged_wide_);
    bytes = std::as_bytes(std::span(staged_wide_));
  }
  if (streams_) {
    std::ranges::copy(bytes, host_.data() + stored);
    return;
  }
  check_cuda(
      cudaMemcpyAsync(stored_.as<std::byte>(stored), bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream_),
      "uploading weights");
  if (t.dtype == Dtype::kF64)  // the next tensor uses the same memory
    check_cuda(cudaStreamSynchronize(stream_), "uploading weights");
}

void DeviceBlock::load_vectors(std::span<const BlockTensor> tensors) {
  vectors_.clear();
  staged_vectors_.clear();
  for (const BlockTensor& t : tensors) {
    if (is_linear(t)) continue;
    vectors_.push_back({widened(t, layer_), std::ssize(staged_vectors_)});
    const std::vector<float>& data = vectors_.back().folded.data;
    staged_vectors_.insert(staged_vectors_.end(), data.begin(), data.end());
  }
  upload_floats(vector_memory_, staged_vectors_);
}

// Checks a linear that is on the device, and makes its float16.
void DeviceBlock::inspect_linear(size_t index) {
  const DeviceLinear& linear = linears_[index];
  const bool copies = linear.f16 != linear.weight.data;
  check_cuda(inspect(linear.weight, copies ? const_cast<__half*>(linear.f16) : nullptr,
                     inspections_.as<Inspection>() + index, stream_),
             "checking weights");
}

void DeviceBlock::bring(size_t index) {
  const Weight& w = linears_[index].weight;
  check_cuda(cudaMemcpyAsync(stored_.as(), host_.data() + linears_[index].host_offset, w.n * w.k * bytes_of(w.type),
                             cudaMemcpyHostToDevice, stream_),
             "uploading weights");
  inspect_linear(index);
  resident_ = index;
}

void DeviceBlock::inspect_linears() {
  std::vector<Inspection> found(linears_.size());
  const size_t bytes = found.size() * sizeof(Inspection);
  inspections_.reserve(bytes);
  check_cuda(cudaMemcpyAsync(inspections_.as(), found.data(), bytes, cudaMemcpyHostToDevice, stream_),
             "checking weights");
  for (size_t i = 0; i < linears_.size(); ++i) streams_ ? bring(i) : inspect_linear(i);
  check_cuda(cudaMemcpyAsync(found.data(), inspections_.as(), bytes, cudaMemcpyDeviceToHost, stream_),
             "checking weights");
  check_cuda(cudaStreamSynchronize(stream_), "loading a block");
  for (size_t i = 0; i < linears_.size(); ++i) {
    if (found[i].bad > 0)
      throw not_finite(layer_, linears_[i].name + std::string(kWeight), found[i].bad, found[i].first_bad);
    linears_[i].largest = std::bit_cast<float>(found[i].largest_bits);
  }
}

const DeviceLinear& DeviceBlock::described(std::string_view name) const {
  const auto found = std::ranges::find(linears_, name, &DeviceLinear::name);
  if (found == linears_.end())
    throw Error(ErrorKind::kBadInput,
                "block " + std::to_string(layer_) + " has no tensor '" + std::string(name) + ".weight'");
  return *found;
}

DeviceLinear& DeviceBlock::linear(std::string_view name) {
  const auto index = static_cast<size_t>(&described(name) - linears_.data());
  if (streams_ && resident_ != index) bring(index);
  return linears_[index];
}

DeviceBlock::Vector* DeviceBlock::find_vector(std::string_view name) {
  const auto found = std::ranges::find_if(vectors_, [&](const Vector& v) { return v.folded.name == name; });
  return found == vectors_.end() ? nullptr : &*found;
}

const float* DeviceBlock::vector(std::string_view name, int64_t size) const {
  const Vector* v = const_cast<DeviceBlock*>(this)->find_vector(name);
  if (v != nullptr && (size == 0 || std::ssize(v->folded.data) == size)) return vector_memory_.as<float>() + v->offset;
  if (size == 0) return nullptr;
  throw Error(ErrorKind::kBadInput, "block " + std::to_string(layer_) + ": '" + std::string(name) + "' has " +
                                        std::to_string(v == nullptr ? 0 : v->folded.data.size()) + " values, " +
                                        std::to_string(size) + " are needed");
}

const FloatTensor* DeviceBlock::bias(std::string_view linear) const {
  const Vector* v = const_cast<DeviceBlock*>(this)->find_vector(std::string(linear).append(kBias));
  return v == nullptr ? nullptr : &v->folded;
}

void DeviceBlock::fold(const model::LayerGroup& group, std::span<const float> scale) {
  const std::string producer(group.absorbs);
  for (const std::string_view suffix : {kWeight, kBias})
    if (Vector* v = find_vector(producer + std::string(suffix))) {
      float* last = v->folded.data.data() + v->folded.data.size() - scale.size();
      for (size_t i = 0; i < scale.size(); ++i) last[i] /= scale[i];
    }
  const auto linear_producer = std::ranges::find(linears_, producer, &DeviceLinear::name);
  if (linear_producer != linears_.end()) {
    std::vector<float> rows(linear_producer->weight.n, 1.f);  // x / 1 is x: rows before the last ones stay
    AWQ_ASSERT(rows.size() >= scale.size() && !linear_producer->divided);
    std::ranges::copy(scale, rows.end() - std::ssize(scale));
    upload_floats(linear_producer->rows, rows);
    check_cuda(cudaStreamSynchronize(stream_), "folding a scale");  // `rows` goes away
    linear_producer->divided = true;
  }
  for (const std::string_view name : group.linears) {
    if (name.empty()) break;
    DeviceLinear& consumer = slot(described(name).name);
    // Columns are multiplied before rows are divided: groups are folded in the order of the block.
    AWQ_ASSERT(consumer.weight.k == std::ssize(scale) && !consumer.divided && !consumer.scaled);
    upload_floats(consumer.columns, scale);
    consumer.scaled = true;
  }
}

FloatTensor DeviceBlock::folded(std::string_view tensor, DeviceBuffer& scratch) {
  if (const Vector* v = find_vector(tensor)) return v->folded;
  AWQ_ASSERT(tensor.ends_with(kWeight));
  const DeviceLinear& from = linear(tensor.substr(0, tensor.size() - kWeight.size()));
  FloatTensor out{std::string(tensor), {from.weight.n, from.weight.k}, {}};
  out.data.resize(from.weight.n * from.weight.k);
  const size_t bytes = out.data.size() * sizeof(float);
  scratch.reserve(bytes);
  check_cuda(fold_weight(from.weight, from.folding(), scratch.as<float>(), stream_), "folding scales");
  check_cuda(cudaMemcpyAsync(out.data.data(), scratch.as(), bytes, cudaMemcpyDeviceToHost, stream_), "folding scales");
  check_cuda(cudaStreamSynchronize(stream_), "folding scales");
  return out;
}

}  // namespace awq::backend::cuda::quant
