// A linear of the running model on the device: packed in the tile layout, or f16.
#pragma once
#include <cuda_fp16.h>

#include <cstdint>
#include <optional>
#include <string>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/linear_launch.h"
#include "backend/cuda/run/host_linear.h"
#include "backend/cuda/run/step.h"
#include "backend/cuda/tile_layout.h"
#include "backend/cuda/weights_launch.h"

namespace awq::backend::cuda {

// Scratch that uploading uses again for each linear.
struct UploadSpace {
  struct Arrays {
    DeviceBuffer codes, zeros, scales;
  } part[kMostJoined];
};

// Where a linear in the tile layout lies.
struct PackedView {
  TileLayout layout;
  const void *qweight, *scales, *zeros;
  const __half* bias;  // or null
};

class RunLinear {
 public:
  RunLinear() = default;
  RunLinear(const HostLinear&, std::string version, const Gpu&, UploadSpace&, cudaStream_t);

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  uint64_t bytes() const;  // that one token reads
  uint64_t device_bytes() const;
  std::string kernel_for(int64_t m) const;
  // Nothing where the weights are f16 or some of their columns are corrected.
  std::optional<PackedView> packed() const;
  size_t workspace_bytes(int64_t most_rows) const;

  // Whether the kernel for m rows takes LinearArgs::gated.
  bool gates(int64_t m) const;
  // y (m, n) f16 = x (m, k) f16 w' + bias; or, `gated`, (m, n / 2) = silu(gate) up. Throws Error.
  void forward(const void* x, void* y, int64_t m, const DeviceBuffer& workspace, const LaunchTarget&,
               bool gated = false) const;

 private:
  void upload_packed(const HostLinear&, UploadSpace&, cudaStream_t);
  LinearArgs args(int64_t m) const;
  bool is_packed_ = false;
  int64_t n_ = 0, k_ = 0;
  int group_ = 0, salient_ = 0;
  std::string version_;
  Gpu gpu_;
  DeviceBuffer weights_, scales_, zeros_, bias_, salient_index_, salient_delta_;
};

}  // namespace awq::backend::cuda
