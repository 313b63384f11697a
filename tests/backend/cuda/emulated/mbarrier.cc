#include "backend/cuda/emulated/mbarrier.h"

#include <cstring>

#include "backend/cuda/emulated/grid.h"

namespace awq::emulated {
namespace {

constexpr uint32_t kMark = 0xd;  // in the top bits: this word is an mbarrier
constexpr int64_t kMostBytes = (1 << 20) - 1;

// As [ mark 4 | phase 1 | 3 | expected 16 | pending 16 | bytes 24 ].
struct State {
  uint32_t phase;     // 0 or 1
  uint32_t expected;  // arrivals a phase
  uint32_t pending;   // still to come in this one
  int64_t bytes;      // likewise; below 0 while copies land before they are announced
};

uint64_t pack(const State& s) {
  return uint64_t{kMark} << 60 | uint64_t{s.phase} << 59 | uint64_t{s.expected} << 40 | uint64_t{s.pending} << 24 |
         static_cast<uint64_t>(s.bytes + kMostBytes + 1) % (1u << 24);
}

State unpack(uint64_t word) {
  return {static_cast<uint32_t>(word >> 59 & 1), static_cast<uint32_t>(word >> 40 & 0xffff),
          static_cast<uint32_t>(word >> 24 & 0xffff), static_cast<int64_t>(word & 0xffffff) - kMostBytes - 1};
}

uint64_t word_of(const void* barrier) {
  uint64_t word;
  std::memcpy(&word, barrier, sizeof word);
  return word;
}

void update(void* barrier, State s) {
  if (s.bytes > kMostBytes || s.bytes < -kMostBytes) fail("an mbarrier's bytes leave the range of 2^20");
  if (s.pending == 0 && s.bytes == 0) s.phase ^= 1, s.pending = s.expected;
  const uint64_t word = pack(s);
  std::memcpy(barrier, &word, sizeof word);
  happened();
}

}  // namespace

void* mbarrier_at(uint32_t address, const char* what) {
  std::byte* const at = shared_bytes(address, 8, 8, what);
  if (word_of(at) >> 60 != kMark)
    fail(std::string(what) + ": no mbarrier was initialised there, or it was overwritten");
  return at;
}

void mbarrier_init(uint32_t address, uint32_t arrivals) {
  std::byte* const at = shared_bytes(address, 8, 8, "mbarrier.init");
  if (arrivals == 0 || arrivals > 0xffff) fail("mbarrier.init with " + std::to_string(arrivals) + " arrivals");
  const uint64_t word = pack({0, arrivals, arrivals, 0});
  std::memcpy(at, &word, sizeof word);
  happened();
}

void mbarrier_arrive(uint32_t address, uint32_t count, int64_t bytes) {
  void* const at = mbarrier_at(address, "mbarrier.arrive");
  State s = unpack(word_of(at));
  if (s.pending < count) fail("mbarrier.arrive: more arrivals in a phase than the barrier was initialised with");
  s.pending -= count;
  s.bytes += bytes;
  update(at, s);
}

void mbarrier_expect(uint32_t address, int64_t bytes) {
  void* const at = mbarrier_at(address, "mbarrier.expect_tx");
  State s = unpack(word_of(at));
  s.bytes += bytes;
  update(at, s);
}

void mbarrier_landed(void* barrier, int64_t bytes) {
  State s = unpack(word_of(barrier));
  s.bytes -= bytes;
  update(barrier, s);
}

bool phase_passed(const void* barrier, uint32_t parity) { return unpack(word_of(barrier)).phase != parity; }

bool mbarrier_test(uint32_t address, uint32_t parity) {
  if (parity > 1) fail("an mbarrier's parity is 0 or 1, not " + std::to_string(parity));
  return phase_passed(mbarrier_at(address, "mbarrier.test_wait"), parity);
}

void mbarrier_wait(uint32_t address, uint32_t parity, const char* what) {
  if (parity > 1) fail(std::string(what) + ": parity is 0 or 1, not " + std::to_string(parity));
  void* const at = mbarrier_at(address, what);
  happened();
  while (!phase_passed(at, parity)) wait({Wait::kPhase, what, at, parity, 8});
}

std::string describe_mbarrier(const void* barrier) {
  const State s = unpack(word_of(barrier));
  return std::to_string(s.pending) + " of " + std::to_string(s.expected) + " arrivals and " + std::to_string(s.bytes) +
         " bytes are missing in its phase of parity " + std::to_string(s.phase);
}

}  // namespace awq::emulated
