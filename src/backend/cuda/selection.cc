#include "backend/cuda/selection.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>

#include "awq/error.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/current_gpu.h"
#include "backend/cuda/failure.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/launchers.h"

namespace awq::backend::cuda {
namespace {

awq_cuda_status status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage: return AWQ_CUDA_UNKNOWN_VERSION;
    case ErrorKind::kBadInput: return AWQ_CUDA_BAD_SHAPE;
    case ErrorKind::kDevice: return AWQ_CUDA_NOT_SUPPORTED;
    default: return AWQ_CUDA_FAILED;
  }
}

// The values of m up to `last` at which the choice may change: it depends on m through these limits alone.
std::set<int64_t> changes_of_choice(int64_t last) {
  std::set<int64_t> starts = {1};
  const auto ends_at = [&](int64_t end) {
    if (end >= 1 && end < last) starts.insert(end + 1);
  };
  for (const KernelTraits& row : kCudaRows) {
    for (const int64_t end : {row.prefer_m_min - 1, row.prefer_m_max, row.m_max}) ends_at(end);
    for (const KernelTraits::Crossover& c : row.crossovers) ends_at(c.m_max);
  }
  return starts;
}

size_t largest_workspace_between(const Launcher& row, LinearArgs args, const Gpu& gpu, int64_t first, int64_t last) {
  if (row.workspace == nullptr) return 0;
  size_t most = 0;
  const int64_t step = std::max<int64_t>(1, (last - first) / kScannedRows);
  for (args.m = last; args.m >= first; args.m -= step) most = std::max(most, row.workspace(args, gpu));
  return most;
}

constexpr size_t kCublasLtRow = [] {
  const auto named = [](const KernelTraits& row) { return row.name == "gemm_dequant_cublaslt"; };
  return static_cast<size_t>(std::find_if(kCudaRows.begin(), kCudaRows.end(), named) - kCudaRows.begin());
}();

constexpr auto kRowsWithoutCublasLt = [] {
  std::array<KernelTraits, kCudaRows.size() - 1> rows{};
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = kCudaRows[i < kCublasLtRow ? i : i + 1];
  return rows;
}();

size_t selected(std::span<const KernelTraits> rows, const Problem& problem, DeviceInfo device, const char* version) {
  try {
    return select_row(rows, problem, device, version);
  } catch (const Error&) {
    device.name = current_gpu_name();  // the sentence wants it, and only the sentence
  }
  try {
    return select_row(rows, problem, device, version);
  } catch (const Error& e) {
    throw Failure(status_of(e.kind()), e.what());
  }
}

}  // namespace

size_t chosen_row(const char* version, const LinearArgs& args, const Gpu& gpu) {
  if (version == nullptr) throw Failure(AWQ_CUDA_BAD_ARGUMENT, "version is null; \"auto\" chooses");
  const Problem problem{
      .m = args.m, .n = args.layout.n, .k = args.layout.k, .group_size = args.layout.group, .bf16 = args.bf16};
  const DeviceInfo device = as_device_info(gpu);
  const size_t row = selected(kCudaRows, problem, device, version);
  if (row != kCublasLtRow) return row;
  // Where cuBLASLt is not installed its row is out of the running; asked for by name, it says what to install. Looked
  // at this late because opening the library takes a good part of a second; and always, so that asking for the
  // workspace has opened it before a graph is captured.
  const std::string& why_not = why_no_cublaslt();
  if (why_not.empty()) return row;
  if (version == kCudaRows[row].name) throw Failure(AWQ_CUDA_FAILED, why_not);
  const size_t instead = selected(kRowsWithoutCublasLt, problem, device, version);
  return instead < kCublasLtRow ? instead : instead + 1;
}

size_t largest_workspace(const char* version, const LinearArgs& args, const Gpu& gpu) {
  size_t most = 0;
  int64_t last = args.m;
  const std::set<int64_t> starts = changes_of_choice(last);
  for (auto start = starts.rbegin(); start != starts.rend(); last = *start++ - 1) {
    LinearArgs there = args;
    there.m = *start;
    const Launcher& row = launcher(chosen_row(version, there, gpu));
    most = std::max(most, largest_workspace_between(row, args, gpu, *start, last));
  }
  return most;
}

}  // namespace awq::backend::cuda
