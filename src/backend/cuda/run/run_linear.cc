#include "backend/cuda/run/run_linear.h"

#include <span>
#include <utility>

#include "awq/error.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/run/dense.h"
#include "backend/cuda/run/failure_as_error.h"
#include "backend/cuda/run/upload.h"
#include "backend/cuda/selection.h"
#include "core/checked.h"
#include "format/packing.h"

namespace awq::backend::cuda {

RunLinear::RunLinear(const HostLinear& host, std::string version, const Gpu& gpu, UploadSpace& space,
                     cudaStream_t stream)
    : is_packed_(host.is_packed), n_(host.n), k_(host.k), version_(std::move(version)), gpu_(gpu) {
  upload(bias_, host.bias, stream);
  if (is_packed_)
    upload_packed(host, space, stream);
  else
    upload(weights_, host.dense, stream);
  // What was copied from goes away, and weights must be complete before the first product (docs/cuda.md).
  check_cuda(cudaStreamSynchronize(stream), "copying weights to the device");
}

void RunLinear::upload_packed(const HostLinear& host, UploadSpace& space, cudaStream_t stream) {
  group_ = host.group();
  salient_ = static_cast<int>(host.salient.index.size());
  const TileLayout layout{.n = n_, .k = k_, .group = group_};
  weights_.reserve(layout.qweight_bytes());
  scales_.reserve(layout.scales_bytes());
  zeros_.reserve(layout.zeros_bytes());
  upload(salient_index_, host.salient.index, stream);
  upload(salient_delta_, host.salient.delta, stream);
  JoinedSource source;
  const auto add = [&](awq_cuda_layout as, int64_t rows, const auto& codes, const auto& zeros, const auto& scales) {
    UploadSpace::Arrays& to = space.part[source.parts];
    upload(to.codes, codes, stream);
    upload(to.zeros, zeros, stream);
    upload(to.scales, scales, stream);
    source.part[source.parts] = {as, to.codes.as(), to.zeros.as(), to.scales.as()};
    source.rows[source.parts++] = rows;
  };
  AWQ_ASSERT(host.stored.size() <= kMostJoined);
  for (const format::StoredLinear& part : host.stored)
    add(part.layout == Layout::kGemv ? AWQ_CUDA_LAYOUT_GEMV : AWQ_CUDA_LAYOUT_GEMM, part.n, part.codes, part.zeros,
        part.scales);
  if (host.stored.empty()) add(AWQ_CUDA_LAYOUT_PLAIN, n_, host.packed.q, host.packed.zeros, host.packed.scales);
  if (host.in_turn) source.rows_in_turn = kRowsInTurn;
  check_cuda(
      repack(source, format::padded_groups(k_, group_), {layout, weights_.as(), scales_.as(), zeros_.as()}, stream),
      "repacking weights");
}

uint64_t RunLinear::device_bytes() const {
  return weights_.bytes() + scales_.bytes() + zeros_.bytes() + bias_.bytes() + salient_index_.bytes() +
         salient_delta_.bytes();
}

uint64_t RunLinear::bytes() const { return device_bytes(); }

LinearArgs RunLinear::args(int64_t m) const {
  LinearArgs a;
  a.layout = {.n = n_, .k = k_, .group = group_};
  a.m = m;
  a.qweight = weights_.as();
  a.scales = scales_.as();
  a.zeros = zeros_.as();
  a.bias = bias_.as();
  a.salient = {salient_, salient_index_.as<int32_t>(), salient_delta_.as()};
  return a;
}

std::optional<PackedView> RunLinear::packed() const {
  if (!is_packed_ || salient_ > 0) return std::nullopt;
  return PackedView{{.n = n_, .k = k_, .group = group_}, weights_.as(), scales_.as(), zeros_.as(), bias_.as<__half>()};
}

std::string RunLinear::kernel_for(int64_t m) const {
  return failure_as_error([&] {
    return is_packed_ ? std::string(kCudaRows[chosen_row(version_.c_str(), args(m), gpu_)].name) : dense_kernel(m);
  });
}

size_t RunLinear::workspace_bytes(int64_t most_rows) const {
  return failure_as_error([&] {
    if (is_packed_) return largest_workspace(version_.c_str(), args(most_rows), gpu_);
    return most_rows > kFewDenseRows ? kCublasLtWorkspace : 0;
  });
}

bool RunLinear::gates(int64_t m) const {
  return is_packed_ && failure_as_error([&] { return launcher(chosen_row(version_.c_str(), args(m), gpu_)).gates; });
}

void RunLinear::forward(const void* x, void* y, int64_t m, const DeviceBuffer& workspace, const LaunchTarget& on,
                        bool gated) const {
  failure_as_error([&] {
    if (!is_packed_) {
      const DenseArgs dense{.m = m,
                            .n = n_,
                            .k = k_,
                            .x = static_cast<const __half*>(x),
                            .w = weights_.as<__half>(),
                            .bias = bias_.as<__half>(),
                            .y = y};
      return check_cuda(multiply_dense(dense, workspace.as(), on), "launching a linear");
    }
    LinearArgs a = args(m);
    a.x = x;
    a.y = y;
    a.gated = gated;
    a.workspace = workspace.as();
    a.workspace_bytes = workspace.bytes();
    a.stream = on.stream;
    check_cuda(launcher(chosen_row(version_.c_str(), a, gpu_)).launch(a, gpu_), "launching a linear");
  });
}

}  // namespace awq::backend::cuda
