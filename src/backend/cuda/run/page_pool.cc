#include "backend/cuda/run/page_pool.h"

#include <algorithm>

namespace awq::backend::cuda {
namespace {

constexpr size_t kFirstChunk = size_t{16} << 20, kLargestChunk = size_t{1} << 30;

// Of what is free on the device, a chunk takes at most this part beyond what is needed right now.
constexpr size_t kShareOfFree = 4;

size_t free_bytes() {
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "asking for free device memory");
  return free;
}

}  // namespace

PagePool::PagePool(int slots, int64_t capacity, int64_t page_bytes)
    : pages_a_slot_(static_cast<int>((capacity + kPageTokens - 1) / kPageTokens)),
      page_bytes_(static_cast<size_t>(page_bytes)),
      held_(static_cast<size_t>(slots)) {
  const size_t table_bytes = sizeof(void*) * static_cast<size_t>(slots) * static_cast<size_t>(pages_a_slot_);
  table_.reserve(table_bytes);
  check_cuda(cudaMemset(table_.as(), 0, table_bytes), "clearing the page table");
}

// As much as there is already, so that a context allocates a number of times that grows with the logarithm of its
// length.
void PagePool::allocate() {
  const size_t wanted = std::clamp<size_t>(bytes() - table_.bytes(), kFirstChunk, kLargestChunk);
  const size_t affordable = std::min(wanted, free_bytes() / kShareOfFree),
               count = std::max<size_t>(1, affordable / page_bytes_);
  DeviceBuffer& chunk = chunks_.emplace_back();
  chunk.reserve(count * page_bytes_);
  for (size_t i = count; i > 0; --i) free_.push_back(chunk.as((i - 1) * page_bytes_));
}

void* PagePool::take() {
  if (free_.empty()) allocate();
  void* page = free_.back();
  free_.pop_back();
  return page;
}

void PagePool::ensure(int slot, int64_t tokens, cudaStream_t stream) {
  std::vector<void*>& held = held_[static_cast<size_t>(slot)];
  const auto needed = static_cast<size_t>((tokens + kPageTokens - 1) / kPageTokens), before = held.size();
  if (needed <= before) return;
  while (held.size() < needed) held.push_back(take());
  void** const entries = table_.as<void*>() + static_cast<size_t>(slot) * static_cast<size_t>(pages_a_slot_);
  check_cuda(cudaMemcpyAsync(entries + before, held.data() + before, (needed - before) * sizeof(void*),
                             cudaMemcpyHostToDevice, stream),
             "writing the page table");
}

void PagePool::release(int slot) {
  std::vector<void*>& held = held_[static_cast<size_t>(slot)];
  free_.insert(free_.end(), held.rbegin(), held.rend());
  held.clear();
}

uint64_t PagePool::bytes() const {
  uint64_t sum = table_.bytes();
  for (const DeviceBuffer& chunk : chunks_) sum += chunk.bytes();
  return sum;
}

}  // namespace awq::backend::cuda
