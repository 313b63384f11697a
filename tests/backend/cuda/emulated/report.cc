#include "backend/cuda/emulated/report.h"

#include <cstdio>
#include <cstring>

#include "backend/cuda/emulated/mbarrier.h"

namespace awq::emulated {
namespace {

constexpr size_t kMostLines = 60;

std::string coordinates(uint3 i) {
  std::string out = std::to_string(i.x);
  if (i.y + i.z > 0) out += "," + std::to_string(i.y) + "," + std::to_string(i.z);
  return out;
}

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string describe(const Thread& t) {
  const Wait& w = t.wait;
  const Block& block = *t.block;
  const auto offset = [&] {
    return std::to_string(static_cast<const std::byte*>(w.address) - block.shared - std::ptrdiff_t{kSharedStart});
  };
  switch (w.kind) {
    case Wait::kLanes: {
      for (const Meeting& m : t.warp->meetings)
        if ((m.arrived >> t.lane & 1) != 0)
          return std::string(w.what) + ", lanes " + hex(m.mask) + ", of which " + hex(m.arrived) + " have come";
      return w.what;
    }
    case Wait::kBarrier: {
      const NamedBarrier& b = block.barriers[w.value];
      return std::string(w.what) + " of barrier " + std::to_string(w.value) + ": " + std::to_string(b.arrived) +
             " of " + std::to_string(b.expected == 0 ? block.live : b.expected) + " threads have come";
    }
    case Wait::kPhase:
      return std::string(w.what) + " for parity " + std::to_string(w.value) + " of the mbarrier at shared offset " +
             offset() + ": " + describe_mbarrier(w.address);
    case Wait::kChange: {
      uint64_t now = 0;
      std::memcpy(&now, w.address, static_cast<size_t>(w.size));
      return std::string(w.what) + " of " + hex(reinterpret_cast<uintptr_t>(w.address)) + ", which stays " +
             std::to_string(now);
    }
    case Wait::kCluster:
      return std::string(w.what) + ": " + std::to_string(block.cluster->arrived) + " of the cluster's " +
             std::to_string(block.cluster->live) + " threads have come";
    case Wait::kPause:
    case Wait::kNothing: return "nothing (it polls)";
    case Wait::kDone: return "ended";
  }
  return "";
}

struct Group {  // lanes of a warp with the same wait
  std::string what;
  uint32_t lanes;
};

std::vector<Group> groups_of(const Warp& warp) {
  std::vector<Group> groups;
  for (const Thread* t : warp.threads) {
    if (t == nullptr || t->wait.kind == Wait::kDone) continue;
    const std::string what = describe(*t);
    bool known = false;
    for (Group& g : groups)
      if (g.what == what) g.lanes |= 1u << t->lane, known = true;
    if (!known) groups.push_back({what, 1u << t->lane});
  }
  return groups;
}

}  // namespace

std::string where(const Block& b) { return "block " + coordinates(b.index); }
std::string where(const Thread& t) {
  return where(*t.block) + " warp " + std::to_string(t.linear / 32) + " lane " + std::to_string(t.lane);
}

std::string deadlock_report(const std::vector<std::unique_ptr<Cluster>>& resident) {
  std::string out = "deadlock: every thread waits\n";
  size_t lines = 0, left_out = 0;
  for (const auto& cluster : resident)
    for (const auto& block : cluster->blocks)
      for (const Warp& warp : block->warps)
        for (const Group& g : groups_of(warp)) {
          if (++lines > kMostLines) {
            ++left_out;
            continue;
          }
          out += "  " + where(*block) + " warp " + std::to_string(warp.index) + " lanes " + hex(g.lanes) + ": " +
                 g.what + "\n";
        }
  if (left_out > 0) out += "  and " + std::to_string(left_out) + " lines more\n";
  return out;
}

}  // namespace awq::emulated
