// What the lanes of a warp, the threads of a block and the blocks of a cluster do together.
#pragma once
#include <cstdint>

#include "backend/cuda/emulated/grid.h"

namespace awq::emulated {

// The lanes of `mask` meet, each with `mine`; the last to come calls `complete` for all.
void meet(const char* what, uint32_t mask, void* mine, void (*complete)(Meeting&));

// `count` 0: all threads of the block that have not ended. `stay`: bar.sync, else bar.arrive.
void block_barrier(const char* what, int id, int count, bool stay);

void cluster_arrive();
void cluster_wait();

// v of lane source(own lane), or the own where that is no lane of `width`.
template <class T, class Source>
T shuffle(const char* what, uint32_t mask, T v, const Source& source) {
  struct Mine {
    T value, got;
    int from;
  } mine{v, v, source(current->lane)};
  meet(what, mask, &mine, [](Meeting& m) {
    for (int lane = 0; lane < 32; ++lane) {
      auto* const to = static_cast<Mine*>(m.lanes[lane]);
      if ((m.arrived >> lane & 1) == 0) continue;
      if ((m.arrived >> to->from & 1) == 0) fail("a shuffle reads a lane that is not of its mask");
      to->got = static_cast<Mine*>(m.lanes[to->from])->value;
    }
  });
  return mine.got;
}

// Once a thread has ended, nobody waits for it any longer.
void thread_ended(Thread&);

uint32_t ballot(const char* what, uint32_t mask, bool vote);

}  // namespace awq::emulated
