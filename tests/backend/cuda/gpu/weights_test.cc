// Work on weights: every file layout into the tile layout and back, exactly, against the CPU's encoders; dequantizing
// and quantizing with the CPU's bits.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backend/cuda/gpu/device_case.h"
#include "backend/cuda/tile_layout.h"
#include "format/layouts.h"
#include "format/rounding.h"

namespace awq::backend::cuda::testing {
namespace {

struct Size {
  int64_t n, k;
  int group;
};
std::string words(const Size& s) { return to_string(Shape{0, s.n, s.k, s.group}); }

constexpr Size kSizes[] = {{8, 96, 32},    {24, 128, 128}, {72, 160, 32}, {136, 448, 64}, {1000, 768, 256},
                           {64, 512, 512}, {72, 136, 136}, {8, 8, 8},     {136, 4160, 64}};

format::QuantizedLinear random_linear(const Size& s) {
  format::QuantizedLinear w = empty_case({1, s.n, s.k, s.group}).linear;
  std::mt19937 random(static_cast<unsigned>(s.n + s.k));
  for (uint8_t& q : w.q) q = random() % 16;
  for (uint8_t& z : w.zeros) z = random() % 16;
  for (f16_t& scale : w.scales) scale = static_cast<f16_t>(1 + random() % 0x5fff);  // subnormal to 512
  return w;
}

template <class T>
std::span<const T> as_span(const std::vector<T>& v) {
  return v;
}

// The three arrays of a tile layout on the device, poisoned.
class Tiles {
 public:
  explicit Tiles(const Size& s) : Tiles(s, awq_cuda_layout_bytes(s.n, s.k, s.group)) {}
  awq_cuda_linear view() const {
    return {.n = size_.n,
            .k = size_.k,
            .group_size = size_.group,
            .qweight = q_.data(),
            .scales = scales_.data(),
            .zeros = zeros_.data(),
            .bias = nullptr,
            .salient_count = 0,
            .salient_index = nullptr,
            .salient_delta = nullptr};
  }
  format::QuantizedLinear unrepacked() const {
    format::QuantizedLinear w = empty_case({1, size_.n, size_.k, size_.group}).linear;
    const DeviceMemory q(w.q.size()), zeros(w.zeros.size()), scales(w.scales.size() * sizeof(f16_t));
    const awq_cuda_linear from = view();
    awq_cuda_message message;
    require(awq_cuda_unrepack(&from, q.data(), zeros.data(), scales.data(), nullptr, &message), message);
    EXPECT_TRUE(q.guards_intact() && zeros.guards_intact() && scales.guards_intact());
    w.q = q.download<uint8_t>();
    w.zeros = zeros.download<uint8_t>();
    w.scales = scales.download<f16_t>();
    return w;
  }
  bool guards_intact() const { return q_.guards_intact() && scales_.guards_intact() && zeros_.guards_intact(); }
  std::vector<uint32_t> words_of_q() const { return q_.download<uint32_t>(); }
  std::vector<f16_t> scales() const { return scales_.download<f16_t>(); }
  std::vector<uint8_t> zeros() const { return zeros_.download<uint8_t>(); }

 private:
  Tiles(const Size& s, const awq_cuda_bytes& bytes)
      : size_(s), q_(bytes.qweight), scales_(bytes.scales), zeros_(bytes.zeros) {}
  Size size_;
  DeviceMemory q_, scales_, zeros_;
};

class OnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  }
};
using Weights = OnGpu;

void repack(awq_cuda_layout layout, const DeviceMemory& q, const DeviceMemory& zeros, const DeviceMemory& scales,
            const Tiles& to) {
  const awq_cuda_source source{layout, q.data(), zeros.data(), scales.data()};
  const awq_cuda_linear linear = to.view();
  awq_cuda_message message;
  require(awq_cuda_repack(&source, &linear, nullptr, &message), message);
  EXPECT_TRUE(to.guards_intact());
}

void repack_plain(const format::QuantizedLinear& w, const Tiles& to) {
  repack(AWQ_CUDA_LAYOUT_PLAIN, DeviceMemory(as_span(w.q)), DeviceMemory(as_span(w.zeros)),
         DeviceMemory(as_span(w.scales)), to);
}

// Straight from the diagram of tile_layout.h: every code, every padding code, every scale and zero point.
TEST_F(Weights, PlainCodesComeToTheirPlaces) {
  for (const Size& size : kSizes) {
    SCOPED_TRACE(words(size));
    const format::QuantizedLinear w = random_linear(size);
    const Tiles tiles(size);
    repack_plain(w, tiles);
    const TileLayout layout{size.n, size.k, size.group};
    const auto q = tiles.words_of_q();
    const auto scales = tiles.scales();
    const auto zeros = tiles.zeros();
    const auto zero_of = [&](int64_t row, int64_t g) {
      return zeros[layout.zero_byte(row, g)] >> TileLayout::zero_shift(row) & 15;
    };
    for (int64_t row = 0; row < layout.padded_n(); ++row) {
      for (int64_t col = 0; col < layout.padded_k(); ++col) {
        const int code = q[layout.word(row, col)] >> (4 * TileLayout::nibble(row, col)) & 15;
        const int64_t g = std::min(col / size.group, layout.groups() - 1);
        const bool padding = row >= size.n || col >= size.k;
        ASSERT_EQ(code, padding ? zero_of(row, g) : w.q[row * size.k + col]) << row << ", " << col;
      }
      for (int64_t g = 0; g < layout.groups(); ++g) {
        const bool padding = row >= size.n || g >= w.groups();
        ASSERT_EQ(scales[layout.scale(row, g)], padding ? 0 : w.scales[row * w.groups() + g]) << row << ", " << g;
        ASSERT_EQ(zero_of(row, g), padding ? 0 : w.zeros[row * w.groups() + g]) << row << ", " << g;
      }
    }
  }
}

struct FileLayout {
  awq_cuda_layout layout;
  const format::LayoutRow* row;
};
const FileLayout kFileLayouts[] = {{AWQ_CUDA_LAYOUT_GEMM, &format::kGemmRow},
                                   {AWQ_CUDA_LAYOUT_GEMV, &format::kGemvRow},
                                   {AWQ_CUDA_LAYOUT_GEMV_FAST, &format::kGemvFastRow}};

TEST_F(Weights, EveryFileLayoutComesBackAsItWas) {
  for (const auto& [layout, row] : kFileLayouts)
    for (const Size& size : kSizes) {
      if (!row->refusal(size.n, size.k, size.group).empty()) continue;
      SCOPED_TRACE(std::string(row->name) + " " + words(size));
      const format::QuantizedLinear w = random_linear(size);
      const auto tensors = row->encode(w);  // qweight, qzeros, scales
      const Tiles tiles(size);
      repack(layout, DeviceMemory(as_span(tensors[0].bytes)), DeviceMemory(as_span(tensors[1].bytes)),
             DeviceMemory(as_span(tensors[2].bytes)), tiles);
      EXPECT_TRUE(tiles.unrepacked() == w);
      const Tiles from_plain(size);
      repack_plain(w, from_plain);
      EXPECT_EQ(tiles.words_of_q(), from_plain.words_of_q()) << "padding differs";
      EXPECT_EQ(tiles.scales(), from_plain.scales()) << "padding differs";
    }
}

TEST_F(Weights, DequantizeRoundsOnce) {
  for (const Size& size : kSizes)
    for (const awq_cuda_type type : {AWQ_CUDA_F16, AWQ_CUDA_BF16}) {
      SCOPED_TRACE(words(size));
      const format::QuantizedLinear w = random_linear(size);
      const Tiles tiles(size);
      repack_plain(w, tiles);
      const DeviceMemory dense(w.q.size() * sizeof(uint16_t));
      const awq_cuda_linear from = tiles.view();
      awq_cuda_message message;
      require(awq_cuda_dequantize(&from, type, dense.data(), nullptr, &message), message);
      const auto bits = dense.download<uint16_t>();
      EXPECT_TRUE(dense.guards_intact());
      for (int64_t row = 0; row < size.n; ++row)
        for (int64_t col = 0; col < size.k; ++col)
          ASSERT_EQ(bits[row * size.k + col], to_bits(w.dequantized(row, col), type)) << row << ", " << col;
    }
}

// Weights with what rounding has to get right: groups of zeros, of one sign, of one value, of tiny values, and
// outliers.
std::vector<float> difficult_weights(const Size& size, awq_cuda_type type) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0.f, 0.05f);
  std::vector<float> w(static_cast<size_t>(size.n * size.k));
  for (size_t i = 0; i < w.size(); ++i) {
    const float v = normal(random) * (random() % 500 == 0 ? 40.f : 1.f);
    const size_t kind = i / static_cast<size_t>(size.group) % 7;
    const float shaped[] = {v, v, 0.f, std::abs(v), -std::abs(v), 0.25f, v * 1e-5f};
    w[i] = from_bits(to_bits(shaped[kind], type), type);
  }
  return w;
}

std::vector<float> some_limits(const Size& size) {
  std::mt19937 random(8);
  std::vector<float> limits(static_cast<size_t>(size.n * size.k / size.group));
  for (float& limit : limits) limit = 0.02f + 0.001f * static_cast<float>(random() % 200);
  return limits;
}

void expect_same_bits(const Size& size, awq_cuda_type type, bool symmetric, const std::vector<float>& limits) {
  SCOPED_TRACE(words(size) + (type == AWQ_CUDA_BF16 ? " bf16" : " f16") + (symmetric ? " symmetric" : "") +
               (limits.empty() ? "" : " limited"));
  const std::vector<float> w = difficult_weights(size, type);
  format::QuantizedLinear expected = empty_case({1, size.n, size.k, size.group}).linear;
  const format::Grid grid{.bits = 4, .group = size.group, .zero_point = !symmetric};
  format::quantize_rows({w.data(), size.n, size.k}, 0, size.n, limits, grid, expected);

  std::vector<uint16_t> bits;
  for (const float v : w) bits.push_back(to_bits(v, type));
  const DeviceMemory dense(as_span(bits)), limit_memory(as_span(limits));
  const Tiles tiles(size), from_plain(size);
  const awq_cuda_linear to = tiles.view();
  awq_cuda_message message;
  require(
      awq_cuda_quantize(dense.data(), type, limits.empty() ? nullptr : static_cast<const float*>(limit_memory.data()),
                        symmetric, &to, nullptr, &message),
      message);
  EXPECT_TRUE(tiles.guards_intact());
  const format::QuantizedLinear found = tiles.unrepacked();
  EXPECT_EQ(found.scales, expected.scales);
  EXPECT_EQ(found.zeros, expected.zeros);
  EXPECT_EQ(found.q, expected.q);
  repack_plain(expected, from_plain);
  EXPECT_EQ(tiles.words_of_q(), from_plain.words_of_q()) << "padding differs";
}

TEST_F(Weights, QuantizeGivesTheBitsOfTheCpu) {
  for (const Size& size : kSizes)
    for (const awq_cuda_type type : {AWQ_CUDA_F16, AWQ_CUDA_BF16})
      for (const bool symmetric : {false, true})
        for (const bool limited : {false, true})
          expect_same_bits(size, type, symmetric, limited ? some_limits(size) : std::vector<float>{});
}

}  // namespace
}  // namespace awq::backend::cuda::testing
