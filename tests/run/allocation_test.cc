// The token loop allocates nothing: this program counts every call of operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "golden.h"
#include "packed_model.h"

namespace {
std::atomic<int64_t> allocations{0};

void* counted(size_t size, size_t alignment) {
  ++allocations;
  void* p = alignment > alignof(std::max_align_t)
                ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
                : std::malloc(size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
}  // namespace

void* operator new(size_t size) { return counted(size, 0); }
void* operator new[](size_t size) { return counted(size, 0); }
void* operator new(size_t size, std::align_val_t a) { return counted(size, static_cast<size_t>(a)); }
void* operator new[](size_t size, std::align_val_t a) { return counted(size, static_cast<size_t>(a)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return ++allocations, std::malloc(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return ++allocations, std::malloc(size); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace awq::test {
namespace {

int64_t allocations_of_forty_tokens(const std::filesystem::path& folder) {
  const Loaded model(folder);
  const std::vector<int32_t> prompt(140, 7);
  model.forward(0, prompt);
  const int32_t token = 9;
  std::vector<float> logits(model.config.vocab);
  const backend::SequenceInput input{0, {&token, 1}, false};
  const auto step = [&] { model.executor->forward({&input, 1}, {logits.data(), 1, model.config.vocab}); };
  step();  // the caches double here, from 140 tokens to room for 280
  const int64_t before = allocations;
  for (int i = 0; i < 40; ++i) step();
  return allocations - before;
}

TEST(TokenLoop, AllocatesNothing) {
  EXPECT_EQ(allocations_of_forty_tokens(demo_folder()), 0);
  QuantConfig quant;
  quant.group_size = 64;
  const PackedDemo demo(quant, 2);
  EXPECT_EQ(allocations_of_forty_tokens(demo.packed.path()), 0);
}

}  // namespace
}  // namespace awq::test
