// The lab of plugin.h, on top of the C API that engines use: what is timed is what they call.
#include "backend/cuda/lab/kernel_lab.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "awq/cuda.h"
#include "awq/error.h"
#include "backend/cuda/lab/cold_linear.h"
#include "backend/cuda/lab/fp16_gemm.h"
#include "backend/cuda/lab/random_data.h"
#include "backend/cuda/lab/read_probe.h"
#include "backend/cuda/lab/reference.h"
#include "backend/cuda/lab/replay_timer.h"

namespace awq::backend::cuda::lab {
namespace {

constexpr uint64_t kActivationSeed = 4, kProbeSeed = 5;
constexpr uint64_t kBandwidthBytes = uint64_t{2} << 30;
constexpr int kPoison = 0xff;  // each byte: outputs are NaN until a kernel writes them

size_t output_bytes(const Problem& p) { return static_cast<size_t>(p.m * p.n) * 2; }
awq_cuda_type type_of(const Problem& p) { return p.bf16 ? AWQ_CUDA_BF16 : AWQ_CUDA_F16; }

class Lab final : public KernelLab {
 public:
  explicit Lab(const DeviceInfo& device) : device_(device) {
    check_cuda(cudaSetDevice(device.index), "choosing the device");
    stream_ = make_stream();
    timer_.emplace(stream_.get());
    counters_.reserve(sizeof(Difference));
  }

  double read_bandwidth() override {
    use_device();
    LabOptions options;
    options.replays = 11;
    const double us = read_us(kBandwidthBytes, 1, options);
    return static_cast<double>(kBandwidthBytes) / us * 1e6;
  }

  double read_floor_us(uint64_t bytes) override {
    use_device();
    const uint64_t whole = (bytes + 15) / 16 * 16;
    return read_us(whole, cold_copies(whole, cold_total(LabOptions{}.cold_bytes, device_.last_cache_bytes)), {});
  }

  Samples time_row(std::string_view row, const Problem& p, const LabOptions& options) override {
    use_device();
    prepare(p, options.cold_bytes);
    const std::string version(row);
    reserve_workspace(version, p);
    return timer_->time([&](int copy, cudaStream_t) { forward(version, p, copy); }, linear_.copies(), options);
  }

  Samples time_fp16_gemm(const Problem& p, const LabOptions& options) override {
    use_device();
    prepare(p, options.cold_bytes);
    if (!fp16_gemm_) fp16_gemm_.emplace();
    const int copies = linear_.dense_copies(stream_.get());
    const auto launch_of = [&](const Fp16Gemm::Run& run) {
      return [&](int copy, cudaStream_t stream) {
        run({p.m, p.n, p.k, x_.as(), linear_.dense(copy), y_.as()}, stream);
      };
    };
    const auto candidates = fp16_gemm_->candidates(p.m, p.n, p.k);
    const Fp16Gemm::Run* best = nullptr;
    double best_us = std::numeric_limits<double>::infinity();
    for (const Fp16Gemm::Run& run : candidates) {
      const double us = timer_->quick_us(launch_of(run), copies);
      if (us < best_us) best = &run;
      best_us = std::min(us, best_us);
    }
    return timer_->time(launch_of(*best), copies, options);
  }

  double relative_error(std::string_view row, const Problem& p) override {
    use_device();
    prepare(p, LabOptions{}.cold_bytes);
    const std::string version(row);
    reserve_workspace(version, p);
    const double* ref = reference(p);
    poison(y_, p);
    forward(version, p, 0);
    check_cuda(cudaMemsetAsync(counters_.as(), 0, sizeof(Difference), stream_.get()), "clearing the comparison");
    compare(counters_.as<Difference>(), y_.as(), p.bf16, ref, p.n, sample_tokens(p.m), stream_.get());
    const auto difference = read_counters<Difference>();
    if (difference.not_finite > 0) return std::numeric_limits<double>::infinity();
    return std::sqrt(difference.squared_error / difference.squared_reference);
  }

  bool bit_identical(std::string_view row, const Problem& p, int runs) override {
    use_device();
    prepare(p, LabOptions{}.cold_bytes);
    const std::string version(row);
    reserve_workspace(version, p);
    check_cuda(cudaMemsetAsync(counters_.as(), 0, sizeof(Difference), stream_.get()), "clearing the comparison");
    poison(y_, p);
    forward(version, p, 0);
    first_y_.reserve(output_bytes(p));
    check_cuda(cudaMemcpyAsync(first_y_.as(), y_.as(), output_bytes(p), cudaMemcpyDeviceToDevice, stream_.get()),
               "keeping the first output");
    for (int run = 1; run < runs; ++run) {
      poison(y_, p);
      forward(version, p, run % linear_.copies());
      count_differing(counters_.as<unsigned long long>(), first_y_.as(), y_.as(), p.m * p.n, stream_.get());
    }
    return read_counters<unsigned long long>() == 0;
  }

 private:
  void use_device() const { check_cuda(cudaSetDevice(device_.index), "choosing the device"); }

  double read_us(uint64_t bytes, int copies, const LabOptions& options) {
    const uint64_t total = bytes * static_cast<uint64_t>(copies);
    if (probe_.bytes() < total) {
      probe_.reserve(total);
      fill_normal(probe_.as(), static_cast<int64_t>(total / 2), false, kProbeSeed, stream_.get());
    }
    return best_read_us(*timer_, probe_.as(), bytes, copies, device_.compute_units, counters_.as<uint32_t>(), options);
  }

  // Weights of the shape, x for m tokens, y and nothing stale in between.
  void prepare(const Problem& p, uint64_t cold_bytes) {
    linear_.make(p.n, p.k, p.group_size, cold_total(cold_bytes, device_.last_cache_bytes), stream_.get());
    const size_t x_bytes = static_cast<size_t>(p.m * p.k) * 2;
    if (x_bytes > x_filled_ || p.bf16 != x_is_bf16_) {
      x_.reserve(x_bytes);
      fill_normal(x_.as(), p.m * p.k, p.bf16, kActivationSeed, stream_.get());
      x_filled_ = x_bytes;
      x_is_bf16_ = p.bf16;
    }
    y_.reserve(output_bytes(p));
  }

  void reserve_workspace(const std::string& version, const Problem& p) {
    size_t bytes = 0;
    awq_cuda_message message{};
    check_status(awq_cuda_workspace_bytes(version.c_str(), &linear_.copy(0), type_of(p), p.m, &bytes, &message),
                 message);
    if (bytes > workspace_.bytes()) {
      workspace_.reserve(bytes);
      check_cuda(cudaMemsetAsync(workspace_.as(), kPoison, bytes, stream_.get()), "poisoning the workspace");
    }
  }

  void forward(const std::string& version, const Problem& p, int copy) {
    awq_cuda_message message{};
    const awq_cuda_status status =
        awq_cuda_forward(version.c_str(), &linear_.copy(copy), type_of(p), p.m, x_.as(), y_.as(), workspace_.as(),
                         workspace_.bytes(), stream_.get(), &message);
    check_status(status, message);
  }

  void poison(const DeviceBuffer& y, const Problem& p) {
    check_cuda(cudaMemsetAsync(y.as(), kPoison, output_bytes(p), stream_.get()), "poisoning the output");
  }

  // f64 (tokens compared, n), kept while rows of one problem are compared with it.
  const double* reference(const Problem& p) {
    const TokenSample sample = sample_tokens(p.m);
    const bool same = ref_of_ && ref_of_->m == p.m && ref_of_->n == p.n && ref_of_->k == p.k &&
                      ref_of_->group_size == p.group_size && ref_of_->bf16 == p.bf16;
    if (same) return ref_.as<double>();
    ref_.reserve(static_cast<size_t>(sample.count * p.n) * sizeof(double));
    reference_forward(ref_.as<double>(), linear_.plain(), x_.as(), p.bf16, sample, stream_.get());
    ref_of_ = p;
    return ref_.as<double>();
  }

  template <class T>
  T read_counters() {
    T value{};
    check_cuda(cudaMemcpyAsync(&value, counters_.as(), sizeof value, cudaMemcpyDeviceToHost, stream_.get()),
               "reading a comparison");
    check_cuda(cudaStreamSynchronize(stream_.get()), "checking a kernel");
    return value;
  }

  DeviceInfo device_;
  Stream stream_;
  std::optional<ReplayTimer> timer_;
  std::optional<Fp16Gemm> fp16_gemm_;
  ColdLinear linear_;
  DeviceBuffer x_, y_, first_y_, ref_, workspace_, probe_, counters_;
  size_t x_filled_ = 0;
  bool x_is_bf16_ = false;
  std::optional<Problem> ref_of_;
};

}  // namespace

std::unique_ptr<KernelLab> open_kernel_lab(const DeviceInfo& device) { return std::make_unique<Lab>(device); }

}  // namespace awq::backend::cuda::lab
