#include "backend/cpu/linear_w4a16.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "backend/cpu/activations.h"
#include "backend/cpu/w4a16_table.h"
#include "backend/cpu/w4a16_weights.h"
#include "core/checked.h"

namespace awq::backend::cpu {
namespace {

const format::QuantizedLinear& checked_bits(const format::QuantizedLinear& linear) {
  if (linear.bits > 4)
    throw Error(ErrorKind::kBadInput,
                fmt::format("the CPU kernels read codes of at most 4 bits, this linear has {}; quantize with bits 4",
                            linear.bits));
  return linear;
}

// Tiles a gemv task: some 8 tasks a thread, so that one slow core does not make the others wait.
int64_t gemv_task_tiles(int64_t tiles, int64_t step, int threads) {
  return std::max<int64_t>(1, tiles / (8 * threads * step)) * step;
}

// Tokens packed at a time: bounds the scratch memory (2 bytes a number: 22 MB at k = 11008), and over so many tokens
// reading the weights once more costs nothing.
constexpr int64_t kBandM = 1024;

}  // namespace

struct LinearW4A16::Impl {
  PackedWeights weights;
  std::vector<int32_t> salient;
  std::string version;

  size_t row_for(int64_t m) const { return row_for(m, version); }
  size_t row_for(int64_t m, std::string_view wanted) const {
    const BlockShape& shape = weights.shape();
    const Problem problem{.m = m, .n = weights.n(), .k = shape.k, .group_size = static_cast<int>(shape.group)};
    return select_row(cpu_kernels(), problem, cpu_info(), wanted);
  }

  void forward_band(ThreadPool& pool, const CpuKernelRow& row, MatrixView<const float> x, MatrixView<float> y) const {
    thread_local PackedActivations scratch;  // of the calling thread; the tasks below only read it
    const TokenPanels tokens = scratch.pack(pool, x, weights.shape(), salient, row.layout);
    const WeightTiles tiles = weights.view();
    const bool gemv = row.traits.family == KernelFamily::kGemv;
    const int64_t tile_step = gemv ? gemv_task_tiles(weights.tiles(), row.tile_step, pool.size()) : row.tile_step;
    const int64_t token_step = gemv ? x.rows : kGemmMaxTokens, across = pieces(weights.tiles(), tile_step);
    pool.parallel_for(pieces(x.rows, token_step) * across, [&](int64_t task) {
      // Tiles follow each other within a band of tokens: what is read again and again stays in the caches.
      const Range m = piece(task / across, token_step, x.rows), t = piece(task % across, tile_step, weights.tiles());
      row.run(tiles, tokens, {t.begin, t.end, m.begin, m.end, y.data, y.stride});
    });
  }
};

LinearW4A16::LinearW4A16(const format::QuantizedLinear& linear, const format::SalientColumns& salient,
                         std::string_view version)
    : impl_(std::make_unique<Impl>(Impl{{checked_bits(linear), salient}, salient.index, std::string(version)})) {
  for (const int32_t channel : salient.index) AWQ_ASSERT(channel >= 0 && channel < linear.k);
  impl_->row_for(1);  // an impossible version is refused at load
}
LinearW4A16::LinearW4A16(LinearW4A16&&) noexcept = default;
LinearW4A16& LinearW4A16::operator=(LinearW4A16&&) noexcept = default;
LinearW4A16::~LinearW4A16() = default;

int64_t LinearW4A16::n() const { return impl_->weights.n(); }
int64_t LinearW4A16::k() const { return impl_->weights.shape().k; }
uint64_t LinearW4A16::bytes() const { return impl_->weights.bytes(); }
std::string LinearW4A16::kernel_for(int64_t m) const { return kernel_for(m, impl_->version); }
std::string LinearW4A16::kernel_for(int64_t m, std::string_view version) const {
  return std::string(cpu_kernels()[impl_->row_for(m, version)].name);
}

void LinearW4A16::forward(ThreadPool& pool, MatrixView<const float> x, MatrixView<float> y) const {
  forward(pool, x, y, impl_->version);
}

void LinearW4A16::forward(ThreadPool& pool, MatrixView<const float> x, MatrixView<float> y,
                          std::string_view version) const {
  AWQ_ASSERT(x.cols == k() && y.cols == n() && y.rows == x.rows);
  if (x.rows == 0) return;
  const CpuKernelRow& row = cpu_kernel_rows()[impl_->row_for(x.rows, version)];
  for (int64_t begin = 0; begin < x.rows; begin += kBandM) {
    const int64_t count = std::min(kBandM, x.rows - begin);
    impl_->forward_band(pool, row, x.rows_from(begin, count), y.rows_from(begin, count));
  }
}

}  // namespace awq::backend::cpu
