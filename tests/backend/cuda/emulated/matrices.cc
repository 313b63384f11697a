// The products and the 8 x 8 matrices that a warp's lanes hold together: lane 4g + t has row g, columns 2t and 2t + 1.
#include <cstring>

#include "backend/cuda/emulated/collectives.h"
#include "backend/cuda/emulated/instructions.h"
#include "core/half.h"

namespace awq::emulated {
namespace {

constexpr uint32_t kAll = ~0u;

struct Fragments {
  uint32_t a[4], b[2];
  float d[4];
};

struct F16 {
  static float widen(uint16_t v) { return f16_to_f32(v); }
};
struct Bf16 {
  static float widen(uint16_t v) { return bf16_to_f32(v); }
};

// 16 x k times k x 8, for k = 8 or 16: the second eight of k lie in registers of their own. Products are exact and
// added up in double; tensor cores keep fewer bits, but not fewer than a float's.
template <class Type, int kSteps>
void multiply(Meeting& m) {
  double a[16][8 * kSteps], b[8 * kSteps][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& f = *static_cast<const Fragments*>(m.lanes[static_cast<size_t>(lane)]);
    const int g = lane / 4, t = lane % 4;
    for (int step = 0; step < kSteps; ++step)
      for (int e = 0; e < 2; ++e) {
        const int k = 8 * step + 2 * t + e;
        for (int half = 0; half < 2; ++half)
          a[g + 8 * half][k] = double{Type::widen(static_cast<uint16_t>(f.a[2 * step + half] >> 16 * e))};
        b[k][g] = double{Type::widen(static_cast<uint16_t>(f.b[step] >> 16 * e))};
      }
    for (int i = 0; i < 4; ++i) d[g + i / 2 * 8][2 * t + i % 2] = double{f.d[i]};
  }
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < 8 * kSteps; ++k)
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
  for (int lane = 0; lane < 32; ++lane) {
    auto& f = *static_cast<Fragments*>(m.lanes[static_cast<size_t>(lane)]);
    for (int i = 0; i < 4; ++i) f.d[i] = static_cast<float>(d[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2]);
  }
}

// Operands: d, a, b, c.
template <class Type, int kSteps>
void multiply_of(Call& call) {
  Fragments f{};
  size_t at = 4;
  for (int i = 0; i < 2 * kSteps; ++i) f.a[i] = call.u32(at++);
  for (int i = 0; i < kSteps; ++i) f.b[i] = call.u32(at++);
  for (float& v : f.d) v = call.f32(at++);
  meet(call.name(), kAll, &f, multiply<Type, kSteps>);
  for (size_t i = 0; i < 4; ++i) call.set(i, f.d[i]);
}

int matrices_of(const Instruction& i) { return i.has("x4") ? 4 : i.has("x2") ? 2 : 1; }

struct Matrices {
  uint32_t address;
  int count;
  bool transposed;
  const char* name;
  uint32_t held[4];  // of this lane
};

void load(Meeting& m) {
  uint16_t rows[4][8][8];
  const auto& first = *static_cast<const Matrices*>(m.lanes[0]);
  for (int lane = 0; lane < 8 * first.count; ++lane) {
    const auto& mine = *static_cast<const Matrices*>(m.lanes[static_cast<size_t>(lane)]);
    std::memcpy(rows[lane / 8][lane % 8], shared_bytes(mine.address, 16, 16, mine.name), 16);
  }
  for (int lane = 0; lane < 32; ++lane) {
    auto& mine = *static_cast<Matrices*>(m.lanes[static_cast<size_t>(lane)]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < first.count; ++i)
      mine.held[i] = first.transposed ? rows[i][2 * t][g] | uint32_t{rows[i][2 * t + 1][g]} << 16
                                      : rows[i][g][2 * t] | uint32_t{rows[i][g][2 * t + 1]} << 16;
  }
}

void store(Meeting& m) {
  const auto& first = *static_cast<const Matrices*>(m.lanes[0]);
  uint16_t rows[4][8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& mine = *static_cast<const Matrices*>(m.lanes[static_cast<size_t>(lane)]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < first.count; ++i)
      for (int e = 0; e < 2; ++e) {
        const auto value = static_cast<uint16_t>(mine.held[i] >> 16 * e);
        (first.transposed ? rows[i][2 * t + e][g] : rows[i][g][2 * t + e]) = value;
      }
  }
  for (int lane = 0; lane < 8 * first.count; ++lane) {
    const auto& mine = *static_cast<const Matrices*>(m.lanes[static_cast<size_t>(lane)]);
    std::memcpy(shared_bytes(mine.address, 16, 16, mine.name), rows[lane / 8][lane % 8], 16);
  }
}

void transpose(Meeting& m) {
  uint16_t rows[8][8];
  for (int lane = 0; lane < 32; ++lane)
    std::memcpy(&rows[lane / 4][lane % 4 * 2], m.lanes[static_cast<size_t>(lane)], 4);
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    *static_cast<uint32_t*>(m.lanes[static_cast<size_t>(lane)]) = rows[2 * t][g] | uint32_t{rows[2 * t + 1][g]} << 16;
  }
}

}  // namespace

void multiply_m16n8k16_f16(Call& c) { multiply_of<F16, 2>(c); }
void multiply_m16n8k16_bf16(Call& c) { multiply_of<Bf16, 2>(c); }
void multiply_m16n8k8_f16(Call& c) { multiply_of<F16, 1>(c); }

void load_matrices(Call& c) {
  const int count = matrices_of(c.instruction);
  Matrices mine{c.u32(static_cast<size_t>(count)), count, c.instruction.has("trans"), c.name(), {}};
  meet(c.name(), kAll, &mine, load);
  for (int i = 0; i < count; ++i) c.set(static_cast<size_t>(i), uint64_t{mine.held[i]});
}

void store_matrices(Call& c) {
  const int count = matrices_of(c.instruction);
  Matrices mine{c.u32(0), count, c.instruction.has("trans"), c.name(), {}};
  for (int i = 0; i < count; ++i) mine.held[i] = c.u32(static_cast<size_t>(1 + i));
  meet(c.name(), kAll, &mine, store);
}

void transpose_matrix(Call& c) {
  uint32_t fragment = c.u32(1);
  meet(c.name(), kAll, &fragment, transpose);
  c.set(0, uint64_t{fragment});
}

}  // namespace awq::emulated
