// A kernel's launch on the CPU: its blocks, their threads as fibers, and what they wait for. One OS thread runs them
// all, in an order that repeats: a thread runs until it must wait for another.
#pragma once
#include <vector_types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/emulated/fiber.h"

namespace awq::emulated {

struct Block;
struct Cluster;
struct Warp;

struct Wait {
  enum Kind { kNothing, kLanes, kBarrier, kPhase, kChange, kCluster, kPause, kDone };
  Kind kind = kNothing;
  const char* what = "";          // the instruction
  const void* address = nullptr;  // kPhase: the mbarrier; kChange: what it polls
  uint64_t value = 0;             // kPhase: the parity; kChange: the value that must change; kBarrier: its id
  int size = 0;                   // kChange: bytes
};

// Copies of cp.async, which land when their thread waits for them and not before.
struct ThreadCopy {
  std::byte* to;
  const std::byte* from;
  int bytes, zeros;
};

// What a load of a loop found.
struct Polled {
  const void* address;
  uint64_t value;
};

struct Thread {
  Fiber fiber;
  std::byte* stack = nullptr;
  uint3 index{};
  int linear = 0, lane = 0;
  Block* block = nullptr;
  Warp* warp = nullptr;
  Wait wait;
  std::vector<ThreadCopy> copies;               // not in a group yet
  std::vector<std::vector<ThreadCopy>> groups;  // the oldest first
  std::vector<std::function<void()>> stores;  // of cp.async.bulk out of shared memory, which is read as late as may be
  std::vector<std::vector<std::function<void()>>> store_groups;
  std::vector<std::function<void()>> products;  // of wgmma, likewise
  std::vector<std::vector<std::function<void()>>> product_groups;
  std::vector<Polled> polled;  // since it last did anything else
  size_t polled_next = 0;      // the load of them that it has not come to since
  uint64_t cluster_phase = 0;  // in which it arrived at its barrier
  bool at_cluster = false;     // and has not waited since
};

// Lanes that meet at a collective of their warp.
struct Meeting {
  const char* what;
  uint32_t mask, arrived;
  std::array<void*, 32> lanes;
  void (*complete)(Meeting&);
};

struct Warp {
  int index = 0;
  uint32_t alive = 0;
  Thread* threads[32] = {};
  std::vector<Meeting> meetings;
};

struct NamedBarrier {
  int expected = 0, arrived = 0;  // 0: all threads that live
  std::vector<Thread*> waiting;
};

// A copy of the block's, which lands on an mbarrier.
struct BulkCopy {
  std::function<void()> land;
};

// Shared memory has addresses of 32 bits: the dynamic part from kSharedStart, the variables behind it.
constexpr uint32_t kSharedStart = 1024, kMostStatic = 48 << 10, kGuard = 1024;
constexpr uint32_t kInCluster = 1u << 30, kRankShift = 24;

struct StaticVariable {
  const void* tag;
  uint32_t offset;
};

struct Block {
  uint3 index{};
  int rank = 0;  // in its cluster
  Cluster* cluster = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::array<NamedBarrier, 16> barriers;
  std::deque<BulkCopy> bulk;
  std::unique_ptr<std::byte[]> memory;
  std::byte* shared = nullptr;  // where address 0 would be
  uint32_t dynamic = 0, statics = 0, statics_end = 0;
  std::vector<StaticVariable> variables;
  int live = 0;

  uint32_t end() const { return statics + kMostStatic; }
};

struct Cluster {
  std::vector<std::unique_ptr<Block>> blocks;
  int arrived = 0, live = 0;
  uint64_t phase = 0;
};

struct Launch {
  dim3 grid{1, 1, 1}, block{1, 1, 1};
  unsigned cluster = 1;
  size_t smem = 0;
  bool cooperative = false;
};

// Runs `body` in every thread. "" or what went wrong, for people.
std::string run(const Launch&, const std::function<void()>& body);

// ---- of the running thread ----
extern Thread* current;
const Launch& running();
void happened();  // something that others may wait for
void wait(Wait);  // until the scheduler finds it fulfilled
void pause();     // lets the others run first
// Before a load that a loop may repeat until it finds something else: the second time, it waits for that.
void poll(const char* what, const void* address, int size);
// Replaces the value there and returns the one before; one that stays the same may be a loop's, as above.
uint64_t atomic(const char* what, void* address, int size, const std::function<uint64_t(uint64_t)>& change);
[[noreturn]] void fail(std::string why);

// The bytes at a shared address: fails outside the block's shared memory, and where `alignment` is not met.
std::byte* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const char* what);
Block& block_of(uint32_t address);  // by the rank that mapa put into it
uint32_t shared_address(const void*);
void* dynamic_shared_bytes(size_t alignment);
void* static_shared_bytes(const void* tag, size_t bytes, size_t alignment);

}  // namespace awq::emulated
