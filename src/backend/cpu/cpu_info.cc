#include "backend/cpu/cpu_info.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "awq/error.h"
#include "backend/cpu/linear_w4a16.h"
#include "core/thread_pool.h"

#if defined(__x86_64__)
#  include <cpuid.h>
#  include <sys/syscall.h>
#endif

namespace awq::backend::cpu {
namespace {

#if defined(__x86_64__)
constexpr std::string_view kBaseArchitecture = "x86-64";
#elif defined(__aarch64__)
constexpr std::string_view kBaseArchitecture = "AArch64";
#else
constexpr std::string_view kBaseArchitecture = "portable";
#endif

struct FeatureName {
  uint32_t bit;
  std::string_view words;
};
constexpr FeatureName kFeatureNames[] = {
    {kAvx2, "AVX2"},        {kAvx512, "AVX-512"},   {kAvx512Vnni, "AVX-512-VNNI"}, {kAvx512Bf16, "AVX-512-BF16"},
    {kAmxInt8, "AMX-INT8"}, {kAmxBf16, "AMX-BF16"}, {kAvxVnni, "AVX-VNNI"},
};

// Each cap keeps its own bits and those of the caps before it.
struct Cap {
  std::string_view name;
  uint32_t adds;
};
constexpr Cap kCaps[] = {{"portable", 0},
                         {"avx2", kAvx2},
                         {"avxvnni", kAvxVnni},
                         {"avx512", kAvx512 | kAvx512Bf16},
                         {"avx512vnni", kAvx512Vnni}};

// First line "key : value" of a /proc file, spaces trimmed; "" when there is none.
std::string proc_value(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const size_t colon = line.find(':');
    const size_t begin = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

uint64_t memory_bytes() {
  const uint64_t physical = uint64_t(sysconf(_SC_PHYS_PAGES)) * uint64_t(sysconf(_SC_PAGESIZE));
  uint64_t limit = physical;
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);  // a number of bytes, or "max"
    uint64_t bytes = 0;
    if (file >> bytes && bytes > 0) limit = std::min(limit, bytes);
  }
  return limit;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// All last-level caches together, as /sys lists them: one for each set of processors that share one.
uint64_t last_cache_bytes() {
  const auto entry = [](long cpu, int index, const char* what) {
    return first_line(fmt::format("/sys/devices/system/cpu/cpu{}/cache/index{}/{}", cpu, index, what));
  };
  int top = 0;  // caches are listed from the nearest to the last
  while (!entry(0, top + 1, "level").empty()) ++top;
  std::map<std::string, uint64_t> bytes_of;  // by sharers
  for (long cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); ++cpu)
    bytes_of[entry(cpu, top, "shared_cpu_list")] = std::strtoull(entry(cpu, top, "size").c_str(), nullptr, 10) << 10;
  uint64_t total = 0;
  for (const auto& [sharers, bytes] : bytes_of) total += bytes;
  return total;
}

DeviceInfo detect() {
  const char* cap = std::getenv("AWQ_CPU_FEATURES");
  DeviceInfo info;
  info.kind = DeviceKind::kCpu;
  info.name = proc_value("/proc/cpuinfo", "model name");
  if (info.name.empty()) info.name = "CPU";
  info.features = capped_features(detect_features(), cap ? cap : "");
  info.architecture = architecture_words(info.features);
  info.compute_units = available_cores();
  info.memory_bytes = memory_bytes();
  info.last_cache_bytes = last_cache_bytes();
  return info;
}

}  // namespace

#if defined(__x86_64__)
namespace {

// Which register sets the operating system saves; XCR0 bits, Intel SDM volume 1, 13.3.
uint64_t saved_registers(uint32_t leaf1_ecx) {
  if (!(leaf1_ecx & bit_OSXSAVE)) return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

constexpr bool all_of(uint64_t value, uint64_t bits) { return (value & bits) == bits; }

// Linux gives a process the 8 KiB of tile data, state component 18, when it asks (since 5.16; for all its threads).
bool tiles_permitted() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

uint32_t detect_features() {
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6, kTiles = 0x60000;
  uint32_t a, b, c, d, b7 = 0, c7 = 0, d7 = 0, a71 = 0, top = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  const uint64_t saved = saved_registers(c);
  if (__get_cpuid_count(7, 0, &top, &b7, &c7, &d7) && top >= 1) {
    uint32_t unused1, unused2, unused3;
    __get_cpuid_count(7, 1, &a71, &unused1, &unused2, &unused3);
  }
  constexpr uint32_t kF_BW_DQ_VL = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  uint32_t features = 0;
  if (all_of(saved, kYmm) && all_of(c, bit_FMA | bit_F16C) && (b7 & bit_AVX2)) features |= kAvx2;
  if ((features & kAvx2) && (a71 & (1u << 4))) features |= kAvxVnni;
  if (all_of(saved, kZmm) && (features & kAvx2) && all_of(b7, kF_BW_DQ_VL)) features |= kAvx512;
  if ((features & kAvx512) && (c7 & bit_AVX512VNNI)) features |= kAvx512Vnni;
  if ((features & kAvx512) && (a71 & (1u << 5))) features |= kAvx512Bf16;
  const bool tiles = all_of(saved, kTiles) && (d7 & (1u << 24)) && tiles_permitted();
  if (tiles && (d7 & (1u << 25))) features |= kAmxInt8;
  if (tiles && (d7 & (1u << 22))) features |= kAmxBf16;
  return features;
}
#else
uint32_t detect_features() { return 0; }
#endif

uint32_t capped_features(uint32_t features, std::string_view cap) {
  if (cap.empty()) return features;
  uint32_t kept = 0;
  for (const Cap& row : kCaps) {
    kept |= row.adds;
    if (row.name == cap) return features & kept;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("AWQ_CPU_FEATURES is '{}'; it takes portable, avx2, avxvnni, avx512 or avx512vnni", cap));
}

std::string architecture_words(uint32_t features) {
  std::string words(kBaseArchitecture);
  for (const FeatureName& row : kFeatureNames)
    if (features & row.bit) words += fmt::format(" {}", row.words);
  return words;
}

const DeviceInfo& cpu_info() {
  static const DeviceInfo info = detect();
  return info;
}

}  // namespace awq::backend::cpu
