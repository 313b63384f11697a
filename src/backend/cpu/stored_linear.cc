#include "backend/cpu/stored_linear.h"

#include <cstring>
#include <string_view>
#include <utility>

#include "backend/cpu/float_gemm.h"
#include "core/checked.h"
#include "io/checkpoint.h"

namespace awq::backend::cpu {
namespace {

// Up to here weights are multiplied from storage. One Zen 5 core, 4096 x 4096 bf16 (2026-11-21): m = 8 takes 5.7 ms
// that way, m = 13 takes 5.8 ms through oneDNN; m = 1 takes 0.9 ms, 37 GB/s.
constexpr int64_t kFewRows = 8;
// Weight bytes a task reads at least: 5 us of one core's bandwidth, several times the cost of handing out a task.
constexpr int64_t kTaskBytes = 64 << 10;
constexpr int64_t kBandRows = 128;  // weights widened at a time: 2 MB at k = 4096, within a core's L2

constexpr std::string_view kTypeNames[] = {"float32", "float16", "bfloat16"};

StoredAs stored_type(Dtype dtype) {
  if (dtype == Dtype::kF16) return StoredAs::kF16;
  if (dtype == Dtype::kBF16) return StoredAs::kBF16;
  return StoredAs::kF32;  // anything else is converted on reading
}

// Widened weights of one task; kept by the thread, as large as the widest band it has seen.
float* band_scratch(int64_t floats) {
  thread_local std::vector<float> scratch;
  if (std::ssize(scratch) < floats) scratch.resize(floats);
  return scratch.data();
}

void add_bias(std::span<const float> bias, MatrixView<float> y, Range columns) {
  if (bias.empty()) return;
  for (int64_t i = 0; i < y.rows; ++i)
    row_ops().add(y.row(i) + columns.begin, bias.data() + columns.begin, columns.end - columns.begin);
}

}  // namespace

StoredMatrix::StoredMatrix(const io::Checkpoint& checkpoint, const std::string& tensor, int64_t n, int64_t k)
    : type_(stored_type(checkpoint.info(tensor).dtype)), n_(n), k_(k) {
  const uint64_t elements = checked_mul(n, k, "the size of a weight");
  data_ = std::make_unique_for_overwrite<std::byte[]>(checked_mul(elements, element_bytes(), "the size of a weight"));
  if (type_ == StoredAs::kF32)
    checkpoint.read_f32(tensor, 0, n, {reinterpret_cast<float*>(data_.get()), elements});
  else
    checkpoint.read_bytes(tensor, {data_.get(), bytes()});
}

StoredMatrix::StoredMatrix(StoredAs type, int64_t n, int64_t k, std::span<const std::byte> data)
    : type_(type), n_(n), k_(k), data_(std::make_unique_for_overwrite<std::byte[]>(data.size())) {
  AWQ_ASSERT(data.size() == bytes());
  std::memcpy(data_.get(), data.data(), data.size());
}

void StoredMatrix::widen(int64_t first_row, int64_t rows, float* out) const {
  row_ops().weights[static_cast<size_t>(type_)].widen(row(first_row), out, rows * k_);
}

StoredLinear::StoredLinear(std::shared_ptr<const StoredMatrix> weights, std::vector<float> bias)
    : weights_(std::move(weights)), bias_(std::move(bias)) {
  AWQ_ASSERT(bias_.empty() || std::ssize(bias_) == n());
}

std::string StoredLinear::kernel_for(int64_t m) const {
  const std::string type(kTypeNames[static_cast<size_t>(weights_->type())]);
  return m <= kFewRows ? "dot_" + type + "_" + row_ops().name : "onednn_sgemm_" + type;
}

void StoredLinear::forward(ThreadPool& pool, MatrixView<const float> x, MatrixView<float> y) const {
  AWQ_ASSERT(x.cols == k() && y.cols == n() && x.rows == y.rows);
  if (x.rows > kFewRows && weights_->type() == StoredAs::kF32)
    return matmul_nt(pool, x, {reinterpret_cast<const float*>(weights_->row(0)), n(), k()}, y, bias_);
  const bool few = x.rows <= kFewRows;
  const int64_t row_bytes = k() * static_cast<int64_t>(weights_->element_bytes());
  const int64_t band = few ? std::max<int64_t>(16, kTaskBytes / row_bytes) : kBandRows;
  const auto dots = row_ops().weights[static_cast<size_t>(weights_->type())].dots;
  const auto task = [&](int64_t i) {
    const Range rows = piece(i, band, n());
    if (few) {
      for (int64_t r = rows.begin; r < rows.end; ++r)
        dots(weights_->row(r), k(), x.data, x.stride, x.rows, y.data + r, y.stride);
    } else {
      float* wide = band_scratch(kBandRows * k());
      weights_->widen(rows.begin, rows.end - rows.begin, wide);
      sgemm_nt(x, {wide, rows.end - rows.begin, k()}, y.cols_from(rows.begin, rows.end - rows.begin));
    }
    add_bias(bias_, y, rows);
  };
  pool.parallel_for(pieces(n(), band), task);
}

}  // namespace awq::backend::cpu
