// wgmma: products of a warpgroup that are done when a thread waits for them, as late as the hardware may be. A thread
// computes its own sums; the rows of a that they need come from the four lanes that hold them.
#include "backend/cuda/emulated/wgmma.h"

#include <array>
#include <cstring>
#include <string_view>

#include "backend/cuda/emulated/collectives.h"
#include "backend/cuda/emulated/instructions.h"
#include "core/half.h"

namespace awq::emulated {
namespace {

constexpr int kStep = 16;  // of k
using Rows = std::array<std::array<float, kStep>, 2>;

struct Mine {
  const uint32_t* a;
  bool bf16;
  Rows rows;  // g and g + 8 of the warp's sixteen
};

float widen(uint16_t v, bool bf16) { return bf16 ? bf16_to_f32(v) : f16_to_f32(v); }

void exchange(Meeting& m) {
  for (int lane = 0; lane < 32; ++lane) {
    auto& mine = *static_cast<Mine*>(m.lanes[static_cast<size_t>(lane)]);
    for (int t = 0; t < 4; ++t) {
      const auto& from = *static_cast<const Mine*>(m.lanes[static_cast<size_t>(lane / 4 * 4 + t)]);
      for (int i = 0; i < 4; ++i)  // row g + i % 2 * 8, k from 2t + i / 2 * 8
        for (int e = 0; e < 2; ++e)
          mine.rows[static_cast<size_t>(i % 2)][static_cast<size_t>(2 * t + i / 2 * 8 + e)] =
              widen(static_cast<uint16_t>(from.a[i] >> 16 * e), mine.bf16);
    }
  }
}

// b by its descriptor: columns of 128 bytes along k with 128-byte swizzle, eight of them `stride` bytes from the next.
struct Columns {
  uint32_t start, stride;
  bool bf16;

  explicit Columns(uint64_t descriptor, bool is_bf16)
      : start(static_cast<uint32_t>(descriptor & 0x3fff) << 4),
        stride(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4),
        bf16(is_bf16) {
    if (descriptor >> 62 != 1) fail("wgmma: the emulator knows operand b with 128-byte swizzle alone");
  }
  std::array<float, kStep> column(int n) const {
    std::array<float, kStep> out;
    const uint32_t address = start + static_cast<uint32_t>(n / 8) * stride + static_cast<uint32_t>(n % 8) * 128;
    for (uint32_t unit = 0; unit < 2; ++unit) {  // of 16 bytes
      const uint32_t at = address + 16 * unit;
      std::array<uint16_t, 8> halves;
      std::memcpy(halves.data(), shared_bytes(at ^ (at >> 7 & 7) << 4, 16, 16, "wgmma"), 16);
      for (size_t k = 0; k < 8; ++k) out[8 * unit + k] = widen(halves[k], bf16);
    }
    return out;
  }
};

}  // namespace

void multiply_group(float* d, int sums, const uint32_t* a, uint64_t b, bool accumulate, const char* type) {
  const bool bf16 = std::string_view(type) == "bf16";
  Mine mine{a, bf16, {}};
  meet("wgmma.mma_async", ~0u, &mine, exchange);
  const int t = current->lane % 4;
  current->products.push_back([d, sums, b, accumulate, bf16, t, rows = mine.rows] {
    const Columns columns(b, bf16);
    for (int pair = 0; pair < sums / 2; ++pair) {  // the sums of one column: rows g and g + 8
      const std::array<float, kStep> column = columns.column(pair / 2 * 8 + 2 * t + pair % 2);
      for (int half = 0; half < 2; ++half) {
        float& to = d[pair / 2 * 4 + half * 2 + pair % 2];
        double sum = accumulate ? double{to} : 0;
        for (size_t k = 0; k < kStep; ++k) sum += double{rows[static_cast<size_t>(half)][k]} * double{column[k]};
        to = static_cast<float>(sum);
      }
    }
  });
}

void commit_products(Call&) {
  current->product_groups.push_back(std::move(current->products));
  current->products.clear();
}

void wait_for_products(Call& c) {
  auto& groups = current->product_groups;
  for (const uint32_t pending = c.u32(0); groups.size() > pending; groups.erase(groups.begin()))
    for (const auto& product : groups.front()) product();
}

}  // namespace awq::emulated
