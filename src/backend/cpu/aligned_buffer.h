// Zeroed memory for weights and activations: 64-byte aligned, on huge pages where it is large.
#pragma once
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

#include "core/checked.h"

namespace awq::backend::cpu {

template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t count) : count_(count) {
    if (count == 0) return;
    const size_t bytes = checked_mul(count, sizeof(T), "a buffer size");
    // Below 2 MiB a huge page would waste memory; from there on it saves a page walk every 4 KiB of a streamed matrix.
    const size_t alignment = bytes >= kHugePage ? kHugePage : 64;
    const size_t rounded = checked_add(bytes, alignment - 1, "a buffer size") / alignment * alignment;
    data_.reset(static_cast<T*>(std::aligned_alloc(alignment, rounded)));
    if (!data_)
      throw Error(ErrorKind::kNoRoom, "no memory for " + std::to_string(bytes) + " bytes of weights or activations");
    if (alignment == kHugePage) madvise(data_.get(), rounded, MADV_HUGEPAGE);  // a hint: failure changes nothing
    std::memset(static_cast<void*>(data_.get()), 0, rounded);
  }
  T* data() noexcept { return data_.get(); }
  const T* data() const noexcept { return data_.get(); }
  size_t size() const noexcept { return count_; }
  size_t bytes() const noexcept { return count_ * sizeof(T); }

 private:
  static constexpr size_t kHugePage = size_t{2} << 20;
  struct Free {
    void operator()(T* p) const noexcept { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
  size_t count_ = 0;
};

}  // namespace awq::backend::cpu
