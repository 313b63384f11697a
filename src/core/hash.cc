#include "core/hash.h"

#include <fmt/format.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace awq {
namespace {

std::string to_hex(XXH128_hash_t h) { return fmt::format("{:016x}{:016x}", h.high64, h.low64); }

}  // namespace

struct Hasher::State {
  XXH3_state_t xxh;
};

std::string hash_hex(std::span<const std::byte> data) { return to_hex(XXH3_128bits(data.data(), data.size())); }

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }
Hasher::~Hasher() = default;
void Hasher::add(std::span<const std::byte> data) { XXH3_128bits_update(&state_->xxh, data.data(), data.size()); }
std::string Hasher::hex() const { return to_hex(XXH3_128bits_digest(&state_->xxh)); }

}  // namespace awq
