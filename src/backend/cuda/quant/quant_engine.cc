#include "backend/cuda/quant/quant_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <type_traits>

#include "awq/error.h"
#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/quant/device_block.h"
#include "backend/cuda/quant/forward_launch.h"
#include "backend/cuda/quant/host_copy.h"
#include "backend/cuda/quant/products.h"
#include "backend/cuda/quant/scale_search.h"
#include "backend/cuda/quant/weights_launch.h"
#include "backend/cuda/quant/window_pass.h"
#include "backend/quant_memory.h"
#include "core/checked.h"
#include "model/architectures.h"

namespace awq::backend::cuda::quant {
namespace {

// What the kernels need beyond what the architecture promises.
void check_widths(const QuantRequest& request) {
  const model::ModelConfig& c = request.config;
  const auto refuse = [&](const char* what, int64_t value, const char* need) {
    throw Error(ErrorKind::kDevice,
                fmt::format("quantizing on cuda:{} needs {} {}, this model has {}: use --device cpu",
                            request.device.index, what, need, value));
  };
  if (request.device.capability < 75)
    throw Error(ErrorKind::kDevice,
                fmt::format("quantizing on a GPU needs compute capability 7.5, cuda:{} has {}.{}: use --device cpu",
                            request.device.index, request.device.capability / 10, request.device.capability % 10));
  if (c.head_dim % 8 != 0) refuse("a head_dim that is a multiple of 8,", c.head_dim, "so that rows are aligned");
  if (c.head_dim > kMaxHeadDim) refuse("a head_dim of at most", c.head_dim, "256");
  for (const model::LinearShape& l : model::block_linears(c)) {
    if (l.k % 8 != 0) refuse("widths that are multiples of", l.k, "8");
    if (l.n % 8 != 0) refuse("widths that are multiples of", l.n, "8");
    if (l.k > 65535) refuse("inputs of at most", l.k, "65535 features");
  }
}

uint64_t budget_of(const QuantEngineOptions& options) {
  if (options.device_memory == 0) return 0;
  return std::max<uint64_t>(options.device_memory, kCudaContextBytes + 1) - kCudaContextBytes;
}

class CudaQuantEngine final : public QuantEngine {
 public:
  explicit CudaQuantEngine(const QuantRequest& request)
      : device_(request.device.index),
        budget_(budget_of(request.options)),
        config_(request.config),
        options_(request.options),
        stream_((check_widths(request), use_device(), make_stream())),
        products_(stream_.get()),
        block_(options_.streams_linears, stream_.get()),
        search_(stream_.get(), products_),
        download_(stream_.get()) {
    if (options_.windows == 0) return;
    const MemoryBudget::Scope counts(budget_);
    pass_.emplace(config_, options_, request.rope_frequencies, stream_.get(), products_);
  }

  double measure_flops() override {
    use_device();
    constexpr int64_t kSide = 4096;
    constexpr double kFlops = 2.0 * kSide * kSide * kSide;
    DeviceBuffer x, y;
    x.reserve(2 * kSide * kSide * sizeof(__half));
    y.reserve(kSide * kSide * sizeof(float));
    check_cuda(cudaMemsetAsync(x.as(), 0x2c, x.bytes(), stream_.get()), "timing a product");  // halves of 0.066
    const Event begin = make_event(), end = make_event();
    float best = 0;
    for (int round = 0; round < 8; ++round) {
      check_cuda(cudaEventRecord(begin.get(), stream_.get()), "timing a product");
      products_.linear(kSide, kSide, kSide, {x.as<__half>(), kSide}, {x.as<__half>() + kSide * kSide, kSide},
                       {.data = y.as(), .stride = kSide});
      check_cuda(cudaEventRecord(end.get(), stream_.get()), "timing a product");
      check_cuda(cudaEventSynchronize(end.get()), "timing a product");
      float ms = 0;
      check_cuda(cudaEventElapsedTime(&ms, begin.get(), end.get()), "timing a product");
      if (round > 0 && (best == 0 || ms < best)) best = ms;
    }
    return kFlops / best * 1e3;
  }

  std::shared_ptr<std::byte[]> host_memory(uint64_t bytes) override {
    use_device();
    void* memory = nullptr;
    check_cuda(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "allocating pinned host memory");
    return {static_cast<std::byte*>(memory), [](std::byte* p) { cudaFreeHost(p); }};
  }

  void set_hidden(int64_t first, MatrixView<const float> rows) override { pass().set_hidden(first, rows); }
  void get_hidden(int64_t first, MatrixView<float> rows) const override { pass().get_hidden(first, rows); }

  void load_block(int64_t layer, std::span<const BlockTensor> tensors) override {
    use_device();
    with_room([&] { block_.load(layer, tensors); });
    used_.reset();
  }

  void forward_block(const Forward& forward) override {
    used_.reset();
    with_room([&] { pass().prepare(forward); });
    const MemoryBudget::Scope counts(budget_);
    pass().run(block_, forward);
  }

  InputSummary input(size_t group) const override {
    const InputStats& stats = pass().stats(group);
    InputSummary summary{pass().tokens(), std::vector<double>(stats.k)};
    download(stats.abs_sum, summary.abs_sum.data(), stats.k * sizeof(double));
    return summary;
  }

  std::vector<float> weight_mean(std::span<const SearchedLinear> linears) override {
    return with_room([&] { return mean_weight(linears); });
  }

  std::vector<float> column_squares(std::string_view linear) override {
    return with_room([&] { return squared_columns(linear); });
  }

  std::vector<double> scale_losses(size_t group, std::span<const SearchedLinear> linears,
                                   std::span<const std::vector<float>> candidates) override {
    std::vector<double> losses;
    for (const SearchedLinear& linear : linears) {
      const auto row = with_room([&] {
        use_statistics(group);
        const DeviceLinear& on_device = block_.linear(linear.name);
        return search_.losses(on_device, grid(on_device.weight.k), linear.corrected, candidates);
      });
      losses.insert(losses.end(), row.begin(), row.end());
    }
    return losses;
  }

  std::vector<double> module_losses(size_t group, std::span<const SearchedLinear> linears,
                                    std::span<const std::vector<float>> candidates) override {
    return with_room([&] {
      pass().keep_module_output(group, block_);
      std::vector<double> losses;
      for (const std::vector<float>& scale : candidates)
        losses.push_back(pass().module_difference(group, block_, rounded(linears, scale)));
      return losses;
    });
  }

  double clip(size_t group, const SearchedLinear& linear, std::span<const float> scale, double loss) override {
    return with_room([&] {
      use_statistics(group);
      DeviceLinear& on_device = block_.linear(linear.name);
      return search_.clip(on_device, grid(on_device.weight.k), linear.corrected, scale, loss);
    });
  }

  void fold(size_t group, std::span<const float> scale) override {
    const MemoryBudget::Scope counts(budget_);
    block_.fold(config_.arch->groups[group], scale);
  }

  void pack(const SearchedLinear& linear, PackedLinear& to) override {
    with_room([&] { pack_into(linear, to); });
  }

  FloatTensor folded(std::string_view tensor) override {
    return with_room([&] { return block_.folded(tensor, float_scratch_); });
  }

 private:
  // Memory that runs out halves the windows in flight until `step`, which can be made again, finds room.
  template <class Step>
  std::invoke_result_t<const Step&> with_room(const Step& step) {
    const MemoryBudget::Scope counts(budget_);
    for (;;) {
      try {
        return step();
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kNoRoom || !pass_ || !pass_->shrink()) throw;
      }
    }
  }

  std::vector<float> mean_weight(std::span<const SearchedLinear> linears) {
    int64_t rows = 0;
    const int64_t k = block_.described(linears.front().name).weight.k;
    start_column_sums(k);
    for (const SearchedLinear& linear : linears) {
      const Weight& w = block_.linear(linear.name).weight;
      const int64_t group = grid(k).group;
      rows += w.n;
      inverses_.reserve(w.n * (k / group) * sizeof(float));
      column_parts_.reserve(column_sum_parts(w.n) * k * sizeof(double));
      check_cuda(inverse_largest(w, group, inverses_.as<float>(), stream_.get()), "averaging weights");
      check_cuda(add_column_sums(w, inverses_.as<float>(), group, column_parts_.as<double>(), column_sums_.as<double>(),
                                 stream_.get()),
                 "averaging weights");
    }
    return column_sums(k, static_cast<double>(rows));
  }

  std::vector<float> squared_columns(std::string_view linear) {
    const Weight& w = block_.linear(linear).weight;
    start_column_sums(w.k);
    column_parts_.reserve(column_sum_parts(w.n) * w.k * sizeof(double));
    check_cuda(add_column_sums(w, nullptr, w.k, column_parts_.as<double>(), column_sums_.as<double>(), stream_.get()),
               "adding up weights");
    return column_sums(w.k, 1);
  }

  void pack_into(const SearchedLinear& linear, PackedLinear& out) {
    const DeviceLinear& from = block_.linear(linear.name);
    const Weight& w = from.weight;
    const GroupGrid g = grid(w.k);
    const PackedArrays to = packed_arrays(w, g);
    check_cuda(quant::pack(w, from.folding(), from.clip_limits(), g, to, stream_.get()), "packing");
    format::QuantizedLinear& packed = out.packed;
    packed.n = w.n, packed.k = w.k;
    packed.group = static_cast<int>(g.group), packed.bits = options_.grid.bits;
    packed.q.resize(w.n * w.k);
    packed.scales.resize(w.n * packed.groups());
    packed.zeros.resize(packed.scales.size());
    packed.bias.clear();
    salient(linear, from, g, to, out.salient);
    download_.copy(codes_.as<std::byte>(), std::as_writable_bytes(std::span(packed.q)));
    download(scales_, packed.scales.data(), packed.scales.size() * sizeof(f16_t));
    download(zeros_, packed.zeros.data(), packed.zeros.size());
    if (const FloatTensor* bias = block_.bias(linear.name))
      for (const float b : bias->data) packed.bias.push_back(f32_to_f16(b));
  }

  void use_device() const { check_cuda(cudaSetDevice(device_), "choosing the device"); }
  WindowPass& pass() {
    AWQ_ASSERT(pass_.has_value());
    return *pass_;
  }
  const WindowPass& pass() const { return const_cast<CudaQuantEngine*>(this)->pass(); }
  GroupGrid grid(int64_t k) const {
    return {options_.grid.group == 0 ? k : options_.grid.group, !options_.grid.zero_point};
  }

  void download(const DeviceBuffer& from, void* to, size_t bytes) const {
    check_cuda(cudaMemcpyAsync(to, from.as(), bytes, cudaMemcpyDeviceToHost, stream_.get()), "reading a result");
    check_cuda(cudaStreamSynchronize(stream_.get()), "reading a result");
  }

  void use_statistics(size_t group) {
    if (used_ == group) return;
    AWQ_ASSERT(pass().is_collected(group));
    search_.use(pass().stats(group));
    used_ = group;
  }

  void start_column_sums(int64_t k) {
    column_sums_.reserve(k * sizeof(double));
    check_cuda(cudaMemsetAsync(column_sums_.as(), 0, k * sizeof(double), stream_.get()), "clearing sums");
  }
  std::vector<float> column_sums(int64_t k, double divisor) const {
    std::vector<double> sums(k);
    download(column_sums_, sums.data(), k * sizeof(double));
    std::vector<float> out;
    for (const double s : sums) out.push_back(static_cast<float>(s / divisor));
    return out;
  }

  PackedArrays packed_arrays(const Weight& w, const GroupGrid& g) {
    const int64_t groups = w.n * (w.k / g.group);
    codes_.reserve(w.n * w.k);
    scales_.reserve(groups * sizeof(__half));
    zeros_.reserve(groups);
    return {codes_.as<uint8_t>(), scales_.as<__half>(), zeros_.as<uint8_t>()};
  }

  void salient(const SearchedLinear& linear, const DeviceLinear& from, const GroupGrid& g, const PackedArrays& packed,
               format::SalientColumns& out) {
    out.index = linear.corrected;
    const int64_t count = std::ssize(out.index);
    out.delta.resize(count * from.weight.n);
    if (count == 0) return;
    channels_.reserve(count * sizeof(int32_t));
    deltas_.reserve(out.delta.size() * sizeof(__half));
    check_cuda(cudaMemcpyAsync(channels_.as(), out.index.data(), count * sizeof(int32_t), cudaMemcpyHostToDevice,
                               stream_.get()),
               "correcting channels");
    check_cuda(salient_delta(from.weight, from.folding(), g, packed, channels_.as<int32_t>(), count,
                             deltas_.as<__half>(), stream_.get()),
               "correcting channels");
    download(deltas_, out.delta.data(), out.delta.size() * sizeof(f16_t));
  }

  // The linears rounded under one scale, float16.
  std::vector<WindowPass::Replaced> rounded(std::span<const SearchedLinear> linears, const std::vector<float>& scale) {
    rounded_.resize(std::max(rounded_.size(), linears.size()));
    std::vector<WindowPass::Replaced> replaced;
    for (size_t i = 0; i < linears.size(); ++i) {
      const Weight& w = block_.linear(linears[i].name).weight;
      std::vector<uint8_t> keep(w.k);
      for (const int32_t c : linears[i].corrected) keep[c] = 1;
      rounded_[i].reserve(w.n * w.k * sizeof(__half));
      module_scale_.reserve(w.k * sizeof(float));
      channels_.reserve(w.k);
      check_cuda(
          cudaMemcpyAsync(module_scale_.as(), scale.data(), w.k * sizeof(float), cudaMemcpyHostToDevice, stream_.get()),
          "rounding a module");
      check_cuda(cudaMemcpyAsync(channels_.as(), keep.data(), w.k, cudaMemcpyHostToDevice, stream_.get()),
                 "rounding a module");
      check_cuda(round_weight(w, grid(w.k), module_scale_.as<float>(), channels_.as<uint8_t>(),
                              rounded_[i].as<__half>(), stream_.get()),
                 "rounding a module");
      check_cuda(cudaStreamSynchronize(stream_.get()), "rounding a module");  // `keep` goes away
      replaced.push_back({linears[i].name, rounded_[i].as<__half>()});
    }
    return replaced;
  }

  const int device_;
  MemoryBudget budget_;  // before all that takes from it
  const model::ModelConfig& config_;
  const QuantEngineOptions options_;
  Stream stream_;
  Products products_;
  DeviceBlock block_;
  ScaleSearch search_;
  HostCopy download_;
  std::optional<WindowPass> pass_;
  std::optional<size_t> used_;  // the group whose statistics search_ has
  std::vector<DeviceBuffer> rounded_;
  DeviceBuffer inverses_, column_parts_, column_sums_, codes_, scales_, zeros_, channels_, deltas_, float_scratch_;
  DeviceBuffer module_scale_;
};

}  // namespace

std::unique_ptr<QuantEngine> make_quant_engine(const QuantRequest& request) {
  return std::make_unique<CudaQuantEngine>(request);
}

}  // namespace awq::backend::cuda::quant
