#include "backend/cuda/emulated/collectives.h"

#include <algorithm>
#include <cstring>

namespace awq::emulated {
namespace {

void complete(Warp& warp, size_t i) {
  Meeting m = warp.meetings[i];
  warp.meetings.erase(warp.meetings.begin() + static_cast<std::ptrdiff_t>(i));
  m.complete(m);
  for (int lane = 0; lane < 32; ++lane)
    if ((m.arrived >> lane & 1) != 0) warp.threads[lane]->wait.kind = Wait::kNothing;
  happened();
}

bool all_came(const Meeting& m, const Warp& warp) { return (m.mask & warp.alive & ~m.arrived) == 0; }

void release(NamedBarrier& b) {
  for (Thread* t : b.waiting) t->wait.kind = Wait::kNothing;
  b = {};
  happened();
}

void release_if_full(NamedBarrier& b, const Block& block) {
  if (b.arrived > 0 && b.arrived >= (b.expected == 0 ? block.live : b.expected)) release(b);
}

void next_phase_if_full(Cluster& cluster) {
  if (cluster.arrived < cluster.live || cluster.live == 0) return;
  cluster.arrived = 0;
  ++cluster.phase;
  happened();
}

}  // namespace

void meet(const char* what, uint32_t mask, void* mine, void (*complete_with)(Meeting&)) {
  Warp& warp = *current->warp;
  const uint32_t me = 1u << current->lane;
  if ((mask & me) == 0) fail(std::string(what) + ": the mask leaves out the lane that executes it");
  happened();
  size_t i = 0;
  while (i < warp.meetings.size() && (warp.meetings[i].mask & mask) == 0) ++i;
  if (i == warp.meetings.size()) {
    warp.meetings.push_back({what, mask, 0, {}, complete_with});
  } else if (warp.meetings[i].mask != mask || std::strcmp(warp.meetings[i].what, what) != 0) {
    fail(std::string(what) + ", while other lanes of its mask wait at " + warp.meetings[i].what);
  }
  Meeting& m = warp.meetings[i];
  m.arrived |= me;
  m.lanes[static_cast<size_t>(current->lane)] = mine;
  if (all_came(m, warp)) return complete(warp, i);
  wait({Wait::kLanes, what});
}

void block_barrier(const char* what, int id, int count, bool stay) {
  Block& block = *current->block;
  if (id < 0 || id > 15) fail(std::string(what) + ": barriers are 0 to 15, not " + std::to_string(id));
  if (count % 32 != 0) fail(std::string(what) + ": " + std::to_string(count) + " threads are no whole warps");
  happened();
  NamedBarrier& b = block.barriers[static_cast<size_t>(id)];
  if (b.arrived > 0 && b.expected != count)
    fail(std::string(what) + " of barrier " + std::to_string(id) + " for " + std::to_string(count) +
         " threads, while others wait there for " + std::to_string(b.expected));
  b.expected = count;
  ++b.arrived;
  if (b.arrived >= (count == 0 ? block.live : count)) return release(b);
  if (!stay) return;
  b.waiting.push_back(current);
  wait({Wait::kBarrier, what, nullptr, static_cast<uint64_t>(id), 0});
}

void cluster_arrive() {
  happened();
  Cluster& cluster = *current->block->cluster;
  current->cluster_phase = cluster.phase;
  current->at_cluster = true;
  ++cluster.arrived;
  next_phase_if_full(cluster);
}

void cluster_wait() {
  happened();
  const Cluster& cluster = *current->block->cluster;
  while (cluster.phase == current->cluster_phase)
    wait({Wait::kCluster, "barrier.cluster.wait", nullptr, current->cluster_phase, 0});
  current->at_cluster = false;
}

uint32_t ballot(const char* what, uint32_t mask, bool vote) {
  struct Mine {
    bool vote;
    uint32_t got;
  } mine{vote, 0};
  meet(what, mask, &mine, [](Meeting& m) {
    uint32_t votes = 0;
    for (uint32_t lane = 0; lane < 32; ++lane)
      if ((m.arrived >> lane & 1) != 0 && static_cast<Mine*>(m.lanes[lane])->vote) votes |= 1u << lane;
    for (uint32_t lane = 0; lane < 32; ++lane)
      if ((m.arrived >> lane & 1) != 0) static_cast<Mine*>(m.lanes[lane])->got = votes;
  });
  return mine.got;
}

void thread_ended(Thread& t) {
  Warp& warp = *t.warp;
  warp.alive &= ~(1u << t.lane);
  for (size_t i = 0; i < warp.meetings.size();)
    if (all_came(warp.meetings[i], warp))
      complete(warp, i);
    else
      ++i;
  for (NamedBarrier& b : t.block->barriers) release_if_full(b, *t.block);
  // It counts no longer, neither among those that live nor among those that have arrived.
  Cluster& cluster = *t.block->cluster;
  if (t.at_cluster && t.cluster_phase == cluster.phase) --cluster.arrived;
  next_phase_if_full(cluster);
}

}  // namespace awq::emulated
