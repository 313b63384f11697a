// A function with a stack of its own, which it may leave and be resumed on: a thread of an emulated kernel.
#pragma once
#include <cstddef>
#include <cstdint>

namespace awq::emulated {

class Fiber {
 public:
  static constexpr size_t kStack = 64 << 10;

  // `body(argument)` starts with the first resume() and must not return: it ends with leave(), never to be resumed.
  void start(std::byte* stack, void (*body)(void*), void* argument);
  void resume();            // from outside: returns when the fiber leaves
  void leave(bool done);    // from inside
  bool overflowed() const;  // the stack was too small

 private:
  static void enter(Fiber*);

  std::byte* stack_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  void* here_ = nullptr;  // stack pointers
  void* there_ = nullptr;
  [[maybe_unused]] void* fake_here_ = nullptr;  // AddressSanitizer's
  [[maybe_unused]] void* fake_there_ = nullptr;
  [[maybe_unused]] const void* outside_ = nullptr;
  [[maybe_unused]] size_t outside_size_ = 0;
};

}  // namespace awq::emulated
