#include "backend/cuda/emulated/ptx.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "backend/cuda/emulated/grid.h"
#include "backend/cuda/emulated/instructions.h"

namespace awq::emulated {
namespace {

// Texts of several instructions, spaces squeezed, and the one that stands for them here.
const std::map<std::string, std::string, std::less<>> kIdioms = {
    {"{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }", "elect.sync %0, 0xffffffff"},
    {"{ .reg .pred done; wait: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1; @!done bra wait; }",
     "mbarrier.wait.parity [%0], %1"},
    {"{ .reg .pred done; wait: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], 0; @!done bra "
     "wait; }",
     "mbarrier.wait.parity [%0], 0"},
    {"{ .reg .pred done; mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2; selp.u32 %0, 1, 0, done; }",
     "mbarrier.test_wait.parity %0, [%1], %2"},
    {"{ .reg .pred done; mbarrier.test_wait.parity.shared::cta.b64 done, [%1], %2; selp.u32 %0, 1, 0, done; }",
     "mbarrier.test_wait.parity %0, [%1], %2"},
};

std::string squeezed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!space)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == ';')) out.pop_back();
  return out;
}

Instruction::Place place_of(const std::string& word) {
  if (word[0] == '%' && std::isdigit(static_cast<unsigned char>(word[1])) != 0) return {std::stoi(word.substr(1)), 0};
  if (std::isdigit(static_cast<unsigned char>(word[0])) != 0) return {-1, std::stoull(word, nullptr, 0)};
  return {-1, special_register(word)};
}

}  // namespace

Instruction::Instruction(std::string_view text) {
  std::string line = squeezed(text);
  if (const auto idiom = kIdioms.find(line); idiom != kIdioms.end()) line = idiom->second;
  const size_t space = std::min(line.find(' '), line.size());
  opcode = line.substr(0, space);
  for (size_t at = 0; at <= opcode.size();) {
    const size_t dot = std::min(opcode.find('.', at), opcode.size());
    parts.push_back(opcode.substr(at, dot - at));
    at = dot + 1;
  }
  std::string word;
  for (size_t i = space; i <= line.size(); ++i) {
    const char c = i < line.size() ? line[i] : ' ';
    if (std::string_view(" ,{}[]").find(c) == std::string_view::npos) {
      word += c;
    } else if (!word.empty()) {
      places.push_back(place_of(word));
      word.clear();
    }
  }
  run_ = find_instruction(opcode);
}

bool Instruction::has(std::string_view word) const {
  return std::find(parts.begin(), parts.end(), word) != parts.end();
}

void Instruction::operator()(Operand* of_asm) const {
  if (run_ == nullptr) fail("the emulator does not know the instruction " + opcode);
  Call call{*this, of_asm};
  run_(call);
}

void Call::set(size_t i, uint64_t bits) const {
  const int index = instruction.places[i].index;
  if (index < 0) return;  // "_"
  Operand& operand = of_asm[index];
  operand.bits = bits;
  std::memcpy(operand.to, &bits, operand.size);
}

}  // namespace awq::emulated
