#include "backend/cuda/emulated/fiber.h"

#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#  define AWQ_ASAN 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define AWQ_ASAN 1
#  endif
#endif
#ifdef AWQ_ASAN
#  include <sanitizer/asan_interface.h>
#  include <sanitizer/common_interface_defs.h>
#endif

// Saves what a called function must keep, and the stack pointer to *from; goes on where `to` was saved.
extern "C" void awq_emulated_switch(void** from, void* to);
extern "C" void awq_emulated_first();
#if defined(__x86_64__)
asm(R"(
.text
.globl awq_emulated_switch
.type awq_emulated_switch, @function
awq_emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size awq_emulated_switch, .-awq_emulated_switch
.globl awq_emulated_first
.type awq_emulated_first, @function
awq_emulated_first:
  movq %r12, %rdi
  xorl %ebp, %ebp
  callq *%r13
  ud2
.size awq_emulated_first, .-awq_emulated_first
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl awq_emulated_switch
.type awq_emulated_switch, %function
awq_emulated_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size awq_emulated_switch, .-awq_emulated_switch
.globl awq_emulated_first
.type awq_emulated_first, %function
awq_emulated_first:
  mov x0, x19
  blr x20
  brk #1
.size awq_emulated_first, .-awq_emulated_first
)");
#else
#  error "the emulator's fibers know x86-64 and AArch64"
#endif

namespace awq::emulated {
namespace {

constexpr uint64_t kCanary = 0x5afe57ac5afe57acull;

}  // namespace

void Fiber::enter(Fiber* self) {
#ifdef AWQ_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &self->outside_, &self->outside_size_);
#endif
  self->body_(self->argument_);
  __builtin_unreachable();
}

void Fiber::start(std::byte* stack, void (*body)(void*), void* argument) {
#ifdef AWQ_ASAN
  __asan_unpoison_memory_region(stack, kStack);  // of a fiber that was given up in the middle
#endif
  stack_ = stack;
  body_ = body;
  argument_ = argument;
  fake_here_ = nullptr;
  std::memcpy(stack, &kCanary, sizeof kCanary);
  void** top = reinterpret_cast<void**>(stack + kStack);
#if defined(__x86_64__)
  // r15 r14 r13 r12 rbx rbp, the address to return to, and 16 bytes over: aligned as a call leaves it.
  void** frame = top - 9;
  std::memset(frame, 0, 9 * sizeof(void*));
  frame[2] = reinterpret_cast<void*>(&Fiber::enter);
  frame[3] = this;
  frame[6] = reinterpret_cast<void*>(&awq_emulated_first);
#else
  void** frame = top - 20;
  std::memset(frame, 0, 20 * sizeof(void*));
  frame[0] = this;
  frame[1] = reinterpret_cast<void*>(&Fiber::enter);
  frame[11] = reinterpret_cast<void*>(&awq_emulated_first);
#endif
  here_ = frame;
}

void Fiber::resume() {
#ifdef AWQ_ASAN
  __sanitizer_start_switch_fiber(&fake_there_, stack_, kStack);
#endif
  awq_emulated_switch(&there_, here_);
#ifdef AWQ_ASAN
  __sanitizer_finish_switch_fiber(fake_there_, nullptr, nullptr);
#endif
}

void Fiber::leave([[maybe_unused]] bool done) {
#ifdef AWQ_ASAN
  __sanitizer_start_switch_fiber(done ? nullptr : &fake_here_, outside_, outside_size_);
#endif
  awq_emulated_switch(&here_, there_);
#ifdef AWQ_ASAN
  __sanitizer_finish_switch_fiber(fake_here_, &outside_, &outside_size_);
#endif
}

bool Fiber::overflowed() const { return std::memcmp(stack_, &kCanary, sizeof kCanary) != 0; }

}  // namespace awq::emulated
