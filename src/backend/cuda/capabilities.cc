#include "backend/cuda/capabilities.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "awq/error.h"

namespace awq::backend::cuda {
namespace {

// Shared memory: "maximum amount of shared memory per thread block" of the CUDA programming guide; the other figures:
// data sheets.
// clang-format off
constexpr CapabilityRow kRows[] = {
    // cc  architecture  card                     last CUDA  SMs  smem  GB     L2 MB  GB/s
    { 30, "Kepler",     "NVIDIA GeForce GTX 680",     10,      8,  48,   2,    0.5,   192},
    { 35, "Kepler",     "NVIDIA Tesla K40",           11,     15,  48,  12,    1.5,   288},
    { 37, "Kepler",     "NVIDIA Tesla K80",           11,     13,  48,  12,    1.5,   240},
    { 50, "Maxwell",    "NVIDIA GeForce GTX 750 Ti",  12,      5,  48,   2,    2,      86},
    { 52, "Maxwell",    "NVIDIA GeForce GTX 980",     12,     16,  48,   4,    2,     224},
    { 53, "Maxwell",    "NVIDIA Jetson TX1",          12,      2,  48,   4,    0.25,   26},
    { 60, "Pascal",     "NVIDIA Tesla P100",          12,     56,  48,  16,    4,     732},
    { 61, "Pascal",     "NVIDIA GeForce GTX 1080 Ti", 12,     28,  48,  11,    2.75,  484},
    { 62, "Pascal",     "NVIDIA Jetson TX2",          12,      2,  48,   8,    0.5,    60},
    { 70, "Volta",      "NVIDIA Tesla V100",          12,     80,  96,  16,    6,     900},
    { 72, "Volta",      "NVIDIA Jetson AGX Xavier",   12,      8,  96,  32,    0.5,   137},
    { 75, "Turing",     "NVIDIA Tesla T4",             0,     40,  64,  16,    4,     320},
    { 80, "Ampere",     "NVIDIA A100",                 0,    108, 163,  40,   40,    1555},
    { 86, "Ampere",     "NVIDIA GeForce RTX 3090",     0,     82,  99,  24,    6,     936},
    { 87, "Ampere",     "NVIDIA Jetson AGX Orin",      0,     16, 163,  64,    4,     205},
    { 89, "Ada",        "NVIDIA GeForce RTX 4090",     0,    128,  99,  24,   72,    1008},
    { 90, "Hopper",     "NVIDIA H100",                 0,    132, 227,  80,   50,    3352},
    {100, "Blackwell",  "NVIDIA B200",                 0,    148, 227, 180,  126,    8000},
    {103, "Blackwell",  "NVIDIA B300",                 0,    148, 227, 270,  126,    8000},
    {110, "Blackwell",  "NVIDIA Jetson AGX Thor",      0,     20, 227, 128,   32,     273},
    {120, "Blackwell",  "NVIDIA GeForce RTX 5090",     0,    170,  99,  32,   96,    1792},
    {121, "Blackwell",  "NVIDIA GB10",                 0,     48,  99, 128,   24,     273},
};
// clang-format on

// 86 of "8.6", "86", "sm_86", "sm_90a"; 0 when it is none of these.
int parse_capability(std::string_view text) {
  for (const std::string_view prefix : {"sm_", "compute_"})
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  if (!text.empty() && (text.back() == 'a' || text.back() == 'f')) text.remove_suffix(1);
  const bool dotted = text.size() >= 3 && text[text.size() - 2] == '.';
  std::string digits(text);
  if (dotted) digits.erase(digits.size() - 2, 1);
  const bool all_digits = std::ranges::all_of(digits, [](unsigned char c) { return std::isdigit(c) != 0; });
  if (!all_digits || digits.size() < 2 || digits.size() > 3) return 0;
  int value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

}  // namespace

std::span<const CapabilityRow> capability_rows() { return kRows; }

const CapabilityRow* capability_row(int capability) {
  const auto after = std::ranges::upper_bound(kRows, capability, {}, &CapabilityRow::capability);
  if (after == std::begin(kRows)) return nullptr;
  const CapabilityRow* row = std::prev(after);
  return row->capability / 10 == capability / 10 ? row : nullptr;
}

std::string_view architecture_name(int capability) {
  const CapabilityRow* row = capability_row(capability);
  return row == nullptr ? "unknown architecture" : row->architecture;
}

}  // namespace awq::backend::cuda

namespace awq {

DeviceInfo assumed_device(std::string_view text) {
  using namespace backend::cuda;
  const int capability = parse_capability(text);
  if (capability < 10)
    throw Error(ErrorKind::kUsage,
                fmt::format("'{}' is not a compute capability: write 8.6 or sm_86, several as 7.5,8.0", text));
  DeviceInfo device;
  device.kind = DeviceKind::kCuda;
  device.capability = capability;
  device.architecture = architecture_name(capability);
  device.name = "NVIDIA GPU";
  const CapabilityRow* row = capability_row(capability);
  if (row == nullptr) return device;
  if (row->capability == capability) device.name = row->card;
  device.compute_units = row->multiprocessors;
  device.memory_bytes = static_cast<uint64_t>(row->memory_gb * 1e9);
  device.last_cache_bytes = static_cast<uint64_t>(row->l2_mb * (1 << 20));
  device.smem_per_block = static_cast<uint64_t>(row->smem_kib) << 10;
  device.memory_bandwidth = row->gb_a_second * 1e9;
  return device;
}

}  // namespace awq
