#include "random_tensor.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/half.h"
#include "core/random.h"

namespace awq::tools {
namespace {

constexpr int64_t kTableSize = 1 << 16;
constexpr int64_t kPiece = 1 << 18;  // elements a task makes: half a megabyte, beside tables of 128 KiB in cache

// log(x) = e log 2 + 2 atanh((m - 1) / (m + 1)) for x = m 2^e, 1/2 <= m < 1: the argument is above -1/3, so 20 terms
// leave 3^-41.
double natural_log(double x) {
  int exponent;
  const double m = std::frexp(x, &exponent), t = (m - 1) / (m + 1);
  double sum = 0;
  for (int n = 39; n >= 1; n -= 2) sum = sum * t * t + 1.0 / n;
  return exponent * 0.69314718055994530942 + 2 * t * sum;
}

const std::vector<double>& quantiles() {
  static const std::vector<double> table = [] {
    std::vector<double> values(kTableSize);
    for (int64_t i = 0; i < kTableSize; ++i)
      values[i] = normal_quantile((static_cast<double>(i) + 0.5) / static_cast<double>(kTableSize));
    return values;
  }();
  return table;
}

std::vector<uint16_t> tabulate(double mean, double std, Dtype dtype) {
  const auto to_bits = dtype == Dtype::kBF16 ? f32_to_bf16 : f32_to_f16;
  std::vector<uint16_t> table(kTableSize);
  std::transform(quantiles().begin(), quantiles().end(), table.begin(),
                 [&](double q) { return to_bits(static_cast<float>(mean + std * q)); });
  return table;
}

// Elements [begin, end) of the tensor to `out`; a hash serves four of them.
void draw(uint64_t key, int64_t begin, int64_t end, const uint16_t* table, uint16_t* out) {
  const auto lane = [&](uint64_t hash, int64_t i) { return table[(hash >> (i % 4 * 16)) & 0xffff]; };
  const auto hash_of = [&](int64_t i) { return mix64(key ^ static_cast<uint64_t>(i / 4)); };
  for (; begin < end && begin % 4 != 0; ++begin) *out++ = lane(hash_of(begin), begin);
  for (; begin + 4 <= end; begin += 4, out += 4) {
    const uint64_t hash = hash_of(begin);
    for (int64_t i = 0; i < 4; ++i) out[i] = lane(hash, i);
  }
  for (; begin < end; ++begin) *out++ = lane(hash_of(begin), begin);
}

}  // namespace

// Wichura, Algorithm AS 241 (1988), PPND7: rational in p near the middle, in sqrt(-log p) towards the ends. Its third
// range begins at p = 1e-11, where nothing here comes.
double normal_quantile(double p) {
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
           (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1);
  }
  const double r = std::sqrt(-natural_log(q < 0 ? p : 1 - p)) - 1.6;
  const double x = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) /
                   ((0.12021132975 * r + 0.73700164250) * r + 1);
  return q < 0 ? -x : x;
}

uint64_t random_key(uint64_t seed, std::string_view name) {
  uint64_t h = mix64(seed);
  for (const char c : name) h = mix64(h ^ static_cast<unsigned char>(c));
  return h;
}

std::vector<int64_t> choose_channels(uint64_t key, int64_t channels, int64_t count) {
  std::set<int64_t> chosen;
  for (uint64_t i = 0; static_cast<int64_t>(chosen.size()) < std::min(count, channels); ++i)
    chosen.insert(static_cast<int64_t>(mix64(key ^ i) % static_cast<uint64_t>(channels)));
  return {chosen.begin(), chosen.end()};
}

TensorFiller::TensorFiller(const RandomTensor& t)
    : key_(t.key),
      columns_(t.columns),
      is_outlier_(static_cast<size_t>(t.rows)),
      plain_(tabulate(t.mean, t.std, t.dtype)),
      louder_(tabulate(t.mean * t.outlier_gain, t.std * t.outlier_gain, t.dtype)) {
  for (const int64_t row : t.outlier_rows) is_outlier_[static_cast<size_t>(row)] = true;
}

void TensorFiller::fill(ThreadPool& pool, int64_t first, std::span<uint16_t> out) const {
  const auto size = static_cast<int64_t>(out.size());
  pool.parallel_for(pieces(size, kPiece), [&](int64_t i) {
    const auto [begin, end] = piece(i, kPiece, size);
    fill_piece(first + begin, out.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
  });
}

void TensorFiller::fill_piece(int64_t first, std::span<uint16_t> out) const {
  const int64_t last = first + static_cast<int64_t>(out.size());
  for (int64_t begin = first; begin < last;) {
    const int64_t row = begin / columns_, end = std::min(last, (row + 1) * columns_);
    const std::vector<uint16_t>& table = is_outlier_[static_cast<size_t>(row)] ? louder_ : plain_;
    draw(key_, begin, end, table.data(), out.data() + (begin - first));
    begin = end;
  }
}

}  // namespace awq::tools
