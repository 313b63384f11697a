// What is known of each compute capability without a device at hand: its architecture, a typical card, and the last
// CUDA toolkit that compiles for it.
#pragma once
#include <span>
#include <string_view>

#include "awq/devices.h"

namespace awq::backend::cuda {

struct CapabilityRow {
  int capability;                 // x 10
  std::string_view architecture;  // "Hopper"
  std::string_view card;          // whose figures follow
  int last_toolkit;               // newest major version of CUDA that compiles for it; 0: still does
  int multiprocessors;
  int smem_kib;        // shared memory that a block may ask for
  double memory_gb;    // 10^9 bytes
  double l2_mb;        // 2^20 bytes
  double gb_a_second;  // memory bandwidth, 10^9 bytes
};

std::span<const CapabilityRow> capability_rows();  // ascending

// The row of `capability`, else the nearest older one of the same generation; null when there is none.
const CapabilityRow* capability_row(int capability);

std::string_view architecture_name(int capability);  // "Ampere"; "unknown architecture"

}  // namespace awq::backend::cuda
