// Memory of all contexts, in pages of kPageTokens tokens of every layer (8 MB of Llama-3-8B). Pages rather than one
// array a context, because contexts of very different length come and go while the addresses that a captured graph
// holds must stay: the graph knows the table alone, so a context grows by an entry, without copying or capturing again.
#pragma once
#include <cstdint>
#include <vector>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/run/step.h"

namespace awq::backend::cuda {

class PagePool {
 public:
  PagePool(int slots, int64_t capacity, int64_t page_bytes);  // capacity: tokens a slot may hold

  // Pages for the first `tokens` tokens of the slot; what is new is written to the table in order of `stream`. Throws
  // Error(kNoRoom) when the device has no room for more.
  void ensure(int slot, int64_t tokens, cudaStream_t stream);
  void release(int slot);  // its pages go to whoever asks next
  PageTable table() const { return {table_.as<void*>(), pages_a_slot_}; }
  uint64_t bytes() const;

 private:
  void* take();
  void allocate();
  int pages_a_slot_;
  size_t page_bytes_;
  std::vector<std::vector<void*>> held_;  // by slot, in order of position
  std::vector<void*> free_;
  std::vector<DeviceBuffer> chunks_;
  DeviceBuffer table_;
};

}  // namespace awq::backend::cuda
