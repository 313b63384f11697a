// include/awq/cuda.h: check every argument, choose the row, launch. Nothing here touches the weights.
#include <fmt/format.h>

#include <cstdio>

#include "awq/cuda.h"
#include "backend/cuda/arguments.h"
#include "backend/cuda/current_gpu.h"
#include "backend/cuda/failure.h"
#include "backend/cuda/kernel_rows.h"
#include "backend/cuda/launchers.h"
#include "backend/cuda/selection.h"
#include "backend/cuda/weights_launch.h"
#include "format/packing.h"

namespace awq::backend::cuda {
namespace {

awq_cuda_status say(awq_cuda_message* message, awq_cuda_status status, const char* text) noexcept {
  if (message != nullptr) std::snprintf(message->text, sizeof message->text, "%s", text);
  return status;
}

// Every function of the C API runs its body in here: exceptions end at the border.
template <class Body>
awq_cuda_status guarded(awq_cuda_message* message, Body&& body) noexcept {
  try {
    body();
    return say(message, AWQ_CUDA_OK, "");
  } catch (const Failure& f) {
    return say(message, f.status(), f.what());
  } catch (const std::exception& e) {
    return say(message, AWQ_CUDA_FAILED, e.what());
  }
}

cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

// The problem without the pointers of a call: enough to choose, and to ask for the workspace.
LinearArgs problem_of(const awq_cuda_linear* w, awq_cuda_type type, int64_t m) {
  LinearArgs args;
  args.layout = checked_layout(w);
  require_type(type);
  require_rows(m);
  require_extras(*w);
  args.m = m;
  args.bf16 = type == AWQ_CUDA_BF16;
  args.bias = w->bias;
  args.salient = {w->salient_count, w->salient_index, w->salient_delta};
  return args;
}

TileArrays tile_arrays(const awq_cuda_linear* w) {
  const TileLayout layout = checked_layout(w);
  require_weights(*w);
  return {layout, const_cast<void*>(w->qweight), const_cast<void*>(w->scales), const_cast<void*>(w->zeros)};
}

size_t needed_workspace(const Launcher& row, const LinearArgs& args, const Gpu& gpu) {
  return row.workspace == nullptr ? 0 : row.workspace(args, gpu);
}

void require_workspace(size_t needed, void* workspace, size_t bytes) {
  if (needed == 0) return;
  if (bytes < needed)
    throw Failure(AWQ_CUDA_WORKSPACE_TOO_SMALL,
                  fmt::format("the workspace has {} bytes, {} are needed", bytes, needed));
  require_pointer(workspace, "workspace");
}

}  // namespace
}  // namespace awq::backend::cuda

using namespace awq::backend::cuda;

extern "C" {

int awq_cuda_abi_version(void) { return AWQ_CUDA_ABI_VERSION; }

awq_cuda_bytes awq_cuda_layout_bytes(int64_t n, int64_t k, int32_t group_size) {
  if (!is_layout(n, k, group_size)) return {};
  const TileLayout layout{.n = n, .k = k, .group = group_size};
  return {layout.qweight_bytes(), layout.scales_bytes(), layout.zeros_bytes()};
}

awq_cuda_status awq_cuda_repack(const awq_cuda_source* from, const awq_cuda_linear* to, void* stream,
                                awq_cuda_message* message) {
  return guarded(message, [&] {
    const TileArrays tiles = tile_arrays(to);
    require_source(from, tiles.layout);
    const int64_t padded = awq::format::padded_groups(tiles.layout.k, tiles.layout.group);
    check(repack(*from, padded, tiles, as_stream(stream)), "repacking");
  });
}

awq_cuda_status awq_cuda_unrepack(const awq_cuda_linear* from, void* q, void* zeros, void* scales, void* stream,
                                  awq_cuda_message* message) {
  return guarded(message, [&] {
    const TileArrays tiles = tile_arrays(from);
    require_pointer(q, "q");
    require_pointer(zeros, "zeros");
    require_pointer(scales, "scales");
    check(unrepack(tiles, {q, zeros, scales}, as_stream(stream)), "unrepacking");
  });
}

awq_cuda_status awq_cuda_dequantize(const awq_cuda_linear* from, awq_cuda_type type, void* w, void* stream,
                                    awq_cuda_message* message) {
  return guarded(message, [&] {
    const TileArrays tiles = tile_arrays(from);
    require_type(type);
    require_pointer(w, "w");
    check(dequantize(tiles, type == AWQ_CUDA_BF16, w, as_stream(stream)), "dequantizing");
  });
}

awq_cuda_status awq_cuda_quantize(const void* w, awq_cuda_type type, const float* limits, int symmetric,
                                  const awq_cuda_linear* to, void* stream, awq_cuda_message* message) {
  return guarded(message, [&] {
    const TileArrays tiles = tile_arrays(to);
    require_type(type);
    require_pointer(w, "w");
    if (limits != nullptr) require_pointer(limits, "limits");
    check(quantize(w, type == AWQ_CUDA_BF16, limits, symmetric != 0, tiles, as_stream(stream)), "quantizing");
  });
}

awq_cuda_status awq_cuda_select(const char* version, const awq_cuda_linear* w, awq_cuda_type type, int64_t m,
                                const char** name, awq_cuda_message* message) {
  return guarded(message, [&] {
    if (name == nullptr) throw Failure(AWQ_CUDA_BAD_ARGUMENT, "name is null");
    const LinearArgs args = problem_of(w, type, m);
    *name = kCudaRows[chosen_row(version, args, current_gpu())].name.data();  // of a string literal: ends in NUL
  });
}

awq_cuda_status awq_cuda_workspace_bytes(const char* version, const awq_cuda_linear* w, awq_cuda_type type, int64_t m,
                                         size_t* bytes, awq_cuda_message* message) {
  return guarded(message, [&] {
    if (bytes == nullptr) throw Failure(AWQ_CUDA_BAD_ARGUMENT, "bytes is null");
    const LinearArgs args = problem_of(w, type, m);
    *bytes = largest_workspace(version, args, current_gpu());
  });
}

awq_cuda_status awq_cuda_forward(const char* version, const awq_cuda_linear* w, awq_cuda_type type, int64_t m,
                                 const void* x, void* y, void* workspace, size_t workspace_bytes, void* stream,
                                 awq_cuda_message* message) {
  return guarded(message, [&] {
    LinearArgs args = problem_of(w, type, m);
    require_weights(*w);
    require_pointer(x, "x");
    require_pointer(y, "y");
    const Gpu gpu = current_gpu();
    const Launcher& row = launcher(chosen_row(version, args, gpu));
    args.x = x;
    args.y = y;
    args.qweight = w->qweight;
    args.scales = w->scales;
    args.zeros = w->zeros;
    args.stream = as_stream(stream);
    require_workspace(needed_workspace(row, args, gpu), workspace, workspace_bytes);
    args.workspace = workspace;
    args.workspace_bytes = workspace_bytes;
    check(row.launch(args, gpu), "launching");
  });
}

}  // extern "C"
