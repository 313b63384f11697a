// What this processor offers, as CpuFeature bits; AWQ_CPU_FEATURES lowers it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace awq::backend::cpu {

// CPUID's bits, those left out whose registers the operating system does not save (XGETBV). 0 off x86-64.
uint32_t detect_features();

// `cap` is the value of AWQ_CPU_FEATURES: portable, avx2, avxvnni, avx512, avx512vnni, or empty for no cap. Throws
// Error(kUsage).
uint32_t capped_features(uint32_t features, std::string_view cap);

std::string architecture_words(uint32_t features);  // "x86-64 AVX2 AVX-512 AVX-512-VNNI"

}  // namespace awq::backend::cpu
