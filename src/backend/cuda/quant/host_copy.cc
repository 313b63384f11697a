#include "backend/cuda/quant/host_copy.h"

#include <algorithm>
#include <cstring>

namespace awq::backend::cuda::quant {
namespace {

constexpr size_t kSlice = size_t{8} << 20;  // 0.16 ms of the bus, 1 ms of a thread that empties it
constexpr size_t kSlots = 8;

}  // namespace

void HostCopy::copy(const std::byte* from, std::span<std::byte> to) {
  if (slots_.empty()) slots_ = std::vector<Slot>(kSlots);
  try {
    size_t next = 0;
    for (size_t at = 0; at < to.size(); at += kSlice)
      start(slots_[next++ % kSlots], from + at, to.subspan(at, std::min(kSlice, to.size() - at)));
  } catch (...) {
    finish();  // no thread may write to `to` after its owner has seen the failure
    throw;
  }
  finish();
  for (Slot& slot : slots_)
    if (slot.emptied.valid()) slot.emptied.get();
}

void HostCopy::finish() {
  for (Slot& slot : slots_)
    if (slot.emptied.valid()) slot.emptied.wait();
}

void HostCopy::start(Slot& slot, const std::byte* from, std::span<std::byte> to) {
  if (slot.emptied.valid()) slot.emptied.get();
  slot.memory.reserve(kSlice);
  if (slot.filled == nullptr) slot.filled = make_event();
  check_cuda(cudaMemcpyAsync(slot.memory.data(), from, to.size(), cudaMemcpyDeviceToHost, stream_), "reading a result");
  check_cuda(cudaEventRecord(slot.filled.get(), stream_), "reading a result");
  slot.emptied = std::async(std::launch::async, [pinned = slot.memory.data(), filled = slot.filled.get(), to] {
    check_cuda(cudaEventSynchronize(filled), "reading a result");
    std::memcpy(to.data(), pinned, to.size());
  });
}

}  // namespace awq::backend::cuda::quant
