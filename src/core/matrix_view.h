// A row-major matrix somebody else owns: data, rows, columns, elements from one row to the next.
#pragma once
#include <cstdint>
#include <span>
#include <type_traits>

namespace awq {

template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;

  MatrixView() = default;
  MatrixView(T* d, int64_t r, int64_t c) : MatrixView(d, r, c, c) {}
  MatrixView(T* d, int64_t r, int64_t c, int64_t s) : data(d), rows(r), cols(c), stride(s) {}
  operator MatrixView<const T>() const requires(!std::is_const_v<T>) { return {data, rows, cols, stride}; }

  T* row(int64_t r) const { return data + r * stride; }
  std::span<T> row_span(int64_t r) const { return {row(r), static_cast<size_t>(cols)}; }
  T& operator()(int64_t r, int64_t c) const { return data[r * stride + c]; }
  MatrixView rows_from(int64_t first, int64_t count) const { return {data + first * stride, count, cols, stride}; }
  MatrixView cols_from(int64_t first, int64_t count) const { return {data + first, rows, count, stride}; }
};

}  // namespace awq
