#include "backend/cuda/cuda_objects.h"

#include <fmt/format.h>

#include <string>

#include "awq/error.h"

namespace awq::backend::cuda {

void check_cuda(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  const bool memory = status == cudaErrorMemoryAllocation;
  cudaGetLastError();  // an error that does not stick must not be reported again by the next launch
  throw Error(memory ? ErrorKind::kNoRoom : ErrorKind::kDevice, std::string("CUDA reported \"") +
                                                                    cudaGetErrorString(status) + "\" (" +
                                                                    cudaGetErrorName(status) + ") while " + doing);
}

namespace {

thread_local MemoryBudget* current_budget = nullptr;

[[noreturn]] void throw_over_budget(size_t bytes, uint64_t left) {
  throw Error(ErrorKind::kNoRoom,
              fmt::format("no room for {:.2f} GB more of the GPU's memory: {:.2f} GB are left of what "
                          "may be used; allow more, or ask for less",
                          static_cast<double>(bytes) * 1e-9, static_cast<double>(left) * 1e-9));
}

[[noreturn]] void throw_no_room(size_t bytes) {
  cudaGetLastError();  // it does not stick: the next allocation is judged by itself
  size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), "asking for free device memory");
  throw Error(ErrorKind::kNoRoom,
              fmt::format("the GPU has no room for {:.1f} GB: {:.1f} of its {:.1f} GB are free; end what else runs "
                          "there, or ask for less",
                          static_cast<double>(bytes) * 1e-9, static_cast<double>(free) * 1e-9,
                          static_cast<double>(total) * 1e-9));
}

}  // namespace

Stream make_stream() {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
  return Stream(stream);
}

Event make_event() {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreate(&event), "creating an event");
  return Event(event);
}

MemoryBudget::Scope::Scope(MemoryBudget& budget) : before_(std::exchange(current_budget, &budget)) {}
MemoryBudget::Scope::~Scope() { current_budget = before_; }

DeviceBuffer::~DeviceBuffer() {
  cudaFree(data_);
  if (budget_ != nullptr) budget_->give_back(bytes_);
}

void DeviceBuffer::reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  { const DeviceBuffer freed = std::move(*this); }  // first: the old and the new block need not fit together
  if (current_budget != nullptr && bytes > current_budget->left()) throw_over_budget(bytes, current_budget->left());
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) throw_no_room(bytes);
  check_cuda(status, "allocating device memory");
  bytes_ = bytes;
  budget_ = current_budget;
  if (budget_ != nullptr) budget_->take(bytes);
}

void PinnedBuffer::reserve(size_t bytes) {
  if (bytes <= bytes_) return;
  cudaFreeHost(std::exchange(data_, nullptr));
  bytes_ = 0;
  check_cuda(cudaHostAlloc(&data_, bytes, cudaHostAllocDefault), "allocating pinned host memory");
  bytes_ = bytes;
}

}  // namespace awq::backend::cuda
