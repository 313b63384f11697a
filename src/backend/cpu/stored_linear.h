// Float weights kept in the type of the checkpoint: a 16-bit model takes 16 bits a weight in memory and, at m = 1, 2 n
// k bytes of reads a token. Few rows of x are multiplied straight from storage; for many, a band of weights is widened
// to float32 (n k conversions against m n k multiplications) and goes through oneDNN.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/cpu/linear.h"
#include "backend/cpu/row_ops.h"

namespace awq::io {
class Checkpoint;
}

namespace awq::backend::cpu {

class StoredMatrix {  // (n, k), row-major
 public:
  StoredMatrix(const io::Checkpoint&, const std::string& tensor, int64_t n, int64_t k);
  StoredMatrix(StoredAs type, int64_t n, int64_t k, std::span<const std::byte> data);
  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  StoredAs type() const { return type_; }
  size_t element_bytes() const { return type_ == StoredAs::kF32 ? 4 : 2; }
  uint64_t bytes() const { return element_bytes() * n_ * k_; }
  const std::byte* row(int64_t r) const { return data_.get() + r * k_ * element_bytes(); }
  void widen(int64_t first_row, int64_t rows, float* out) const;

 private:
  StoredAs type_;
  int64_t n_, k_;
  std::unique_ptr<std::byte[]> data_;
};

class StoredLinear final : public Linear {
 public:
  StoredLinear(std::shared_ptr<const StoredMatrix> weights, std::vector<float> bias);
  int64_t n() const override { return weights_->n(); }
  int64_t k() const override { return weights_->k(); }
  uint64_t bytes() const override { return weights_->bytes() + bias_.size() * sizeof(float); }
  std::string kernel_for(int64_t m) const override;
  void forward(ThreadPool&, MatrixView<const float> x, MatrixView<float> y) const override;

 private:
  std::shared_ptr<const StoredMatrix> weights_;  // shared with the embedding when the two are tied
  std::vector<float> bias_;                      // (n) or empty
};

}  // namespace awq::backend::cpu
