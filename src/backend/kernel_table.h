// What a kernel needs, as data; one selection for every device. CPU and CUDA each own a constexpr table of rows that
// begin with these traits; tests, `awq bench --kernels` and `awq devices` walk them.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "awq/devices.h"

namespace awq::backend {

inline constexpr uint64_t kSmemOfEveryGpu = 48 << 10;  // a block's shared memory without opting in to more

struct KernelTraits {
  std::string_view name;  // "gemv_w4a16_avx512vnni": architecture in the name
  KernelFamily family;
  DeviceKind device;
  uint32_t features = 0;                             // CPU: all these CpuFeature bits
  int capability_min = 0, capability_end = 1 << 30;  // CUDA: compute capability x 10, half-open
  int64_t m_max = INT64_MAX;
  int n_step = 1, k_step = 1;         // n and k must be multiples
  std::string_view needs_words = {};  // "AVX-512 VNNI": how a refusal names `features`
  // Rows are tried in table order among those with prefer_m_min <= m <= prefer_m_max first (measured crossovers, see
  // bench/results), then the others: a preference, not a limit.
  int64_t prefer_m_max = INT64_MAX;
  int64_t prefer_m_min = 1;
  // On devices of `capability` the preference above holds only where one of these does, if there are any: outputs up to
  // n_per_unit for each compute unit (so that all blocks run at once), m and k up to the limits. Measured,
  // bench/results.
  struct Crossover {
    int capability = 0, n_per_unit = 0;
    int64_t m_max = 0, k_max = INT64_MAX;
    int k_step = 1;  // the quicker row's: they hold for its k alone
  };
  Crossover crossovers[3] = {};
  bool bf16 = true;          // takes bfloat16 activations
  bool tile_groups = false;  // takes only groups of 32, 64, multiples of 128, or one group for all of k
  uint64_t smem = 0;         // CUDA: bytes of shared memory a block asks for, where that is above kSmemOfEveryGpu
};

// "" when `row` can run `p` on `d`, else one reason: "needs n % 16 == 0, n = 24".
std::string refusal(const KernelTraits& row, const Problem& p, const DeviceInfo& d);

// Index of the row to use; throws as awq::select_kernel documents. `rows` all belong to d's kind.
size_t select_row(std::span<const KernelTraits> rows, const Problem& p, const DeviceInfo& d, std::string_view version);

}  // namespace awq::backend
