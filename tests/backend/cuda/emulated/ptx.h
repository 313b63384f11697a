// Inline PTX, executed: translate.py turns asm("text" : outputs : inputs) into ptx<"text">(out(y), in(x), ...), and
// the text is looked up and done here. Operands count as they do in asm: %0 is the first.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace awq::emulated {

// A register of a thread, or a number that is given to an instruction.
struct Operand {
  uint64_t bits = 0;
  void* to = nullptr;  // an output's variable
  uint32_t size = 0;   // its bytes
};

template <class T>
uint64_t bits_of(const T& v) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<uintptr_t>(v);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<uint64_t>(static_cast<int64_t>(v));
  } else {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    return bits;
  }
}
template <class T>
Operand in(const T& v) {
  return {bits_of(v), nullptr, sizeof v};
}
template <class T>
Operand out(T& v) {
  return {0, &v, sizeof v};
}
template <class T>
Operand inout(T& v) {
  return {bits_of(v), &v, sizeof v};
}

// One instruction of the text with its operands in the order in which the text names them.
class Instruction {
 public:
  explicit Instruction(std::string_view text);
  void operator()(Operand* of_asm) const;

  std::string opcode;              // "ld.shared.v4.u32"
  std::vector<std::string> parts;  // its words between dots
  bool has(std::string_view word) const;

  struct Place {
    int index;  // of the asm's operands; -1: a number, or nothing to write to
    uint64_t literal;
  };
  std::vector<Place> places;

 private:
  void (*run_)(struct Call&) = nullptr;
};

// An instruction that is being executed by `current`.
struct Call {
  const Instruction& instruction;
  Operand* of_asm;

  const char* name() const { return instruction.opcode.c_str(); }
  size_t count() const { return instruction.places.size(); }
  uint64_t u64(size_t i) const {
    const auto [index, literal] = instruction.places[i];
    return index < 0 ? literal : of_asm[index].bits;
  }
  uint32_t u32(size_t i) const { return static_cast<uint32_t>(u64(i)); }
  float f32(size_t i) const { return std::bit_cast<float>(u32(i)); }
  template <class T = void>
  T* pointer(size_t i) const {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(u64(i)));
  }
  void set(size_t i, uint64_t bits) const;
  void set(size_t i, float value) const { set(i, uint64_t{std::bit_cast<uint32_t>(value)}); }
};

template <size_t kSize>
struct Text {
  char text[kSize];
  constexpr Text(const char (&from)[kSize]) {  // NOLINT: a literal becomes a template's argument
    for (size_t i = 0; i < kSize; ++i) text[i] = from[i];
  }
};

template <Text kText, class... Operands>
void ptx(Operands... operands) {
  static const Instruction instruction(kText.text);
  Operand of_asm[sizeof...(operands) + 1] = {operands...};
  instruction(of_asm);
}

}  // namespace awq::emulated
