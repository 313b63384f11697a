// What the kernels of one step know of the tokens they work on.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>

namespace awq::backend::cuda {

// One new token: which it is, whose context it belongs to, and where there. slot < 0: a row that fills up a batch; what
// is computed for it goes nowhere.
struct StepRow {
  int32_t token = 0, slot = -1, position = 0;
};

// Consecutive rows of one context, for attention over many new tokens at once.
struct Segment {
  int32_t row = 0, count = 0;      // of the step's rows
  int32_t slot = 0, position = 0;  // of the first
};

// Where a kernel goes, and whether it may start before the one ahead of it has ended (9.0): it then waits for it
// itself, after whatever does not depend on it.
struct LaunchTarget {
  cudaStream_t stream = nullptr;
  bool overlap = false;
  int sms = 0;
  bool clusters = false;   // the device has clusters and bulk copies (9.0)
  int smem_per_block = 0;  // bytes, at most
};

inline constexpr int kPageTokens = 64;

// Keys and values of all contexts, in pages of kPageTokens tokens. A page: [layer][keys, values][kv head][token][d],
// f16.
struct PageTable {
  void* const* pages = nullptr;  // (slots, pages_a_slot)
  int pages_a_slot = 0;
};

}  // namespace awq::backend::cuda
