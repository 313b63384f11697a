// Random numbers that mean the same on every machine: a hash of (seed, name, counter), no hidden state.
#pragma once
#include <cstdint>
#include <string_view>

namespace awq {

// Steele, Lea, Flood: SplitMix64's finaliser.
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Uniform in [0, 1), 24 bits.
constexpr float random_unit(uint64_t seed, std::string_view name, uint64_t counter) {
  uint64_t h = mix64(seed);
  for (char c : name) h = mix64(h ^ static_cast<unsigned char>(c));
  return static_cast<float>(mix64(h ^ counter) >> 40) * 0x1p-24f;
}

}  // namespace awq
