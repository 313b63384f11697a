// A quantized linear on the CPU: weights repacked once at load, one kernel row chosen per call by m.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "backend/kernel_table.h"
#include "core/matrix_view.h"
#include "core/thread_pool.h"
#include "format/quantized_linear.h"
#include "format/salient.h"

namespace awq::backend::cpu {

const DeviceInfo& cpu_info();                 // detected once
std::span<const KernelTraits> cpu_kernels();  // traits of the CPU table's rows, in order

class LinearW4A16 {
 public:
  LinearW4A16(const format::QuantizedLinear&, const format::SalientColumns&, std::string_view version = "auto");
  LinearW4A16(LinearW4A16&&) noexcept;
  LinearW4A16& operator=(LinearW4A16&&) noexcept;
  ~LinearW4A16();
  int64_t n() const;
  int64_t k() const;
  uint64_t bytes() const;  // packed weights, scales, zero points, correction
  std::string kernel_for(int64_t m) const;
  std::string kernel_for(int64_t m, std::string_view version) const;
  // y (m, n), bias and correction included.
  void forward(ThreadPool&, MatrixView<const float> x, MatrixView<float> y) const;
  // The same by another version than the one given at construction: the packed weights serve every kernel.
  void forward(ThreadPool&, MatrixView<const float> x, MatrixView<float> y, std::string_view version) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::backend::cpu
