#include "backend/cuda/emulated/grid.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

#include "backend/cuda/emulated/collectives.h"
#include "backend/cuda/emulated/mbarrier.h"
#include "backend/cuda/emulated/report.h"

namespace awq::emulated {

Thread* current = nullptr;

namespace {

constexpr int kUnwritten = 0xff;  // NaN as a float and as a half: a read of what nobody wrote shows
constexpr int kCanary = 0x5a;

// Stacks are kept from launch to launch: untouched pages cost nothing, touched ones are warm.
class Stacks {
 public:
  std::byte* take() {
    if (free_.empty()) grow();
    std::byte* const stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void give_back(std::byte* stack) { free_.push_back(stack); }

 private:
  // Apart by more than a power of two: equal places of different stacks then lie in different sets of the caches.
  void grow() {
    constexpr size_t kAtOnce = 256, kApart = Fiber::kStack + 5 * 64;
    void* const memory =
        mmap(nullptr, kAtOnce * kApart, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    for (size_t i = kAtOnce; i-- > 0;) free_.push_back(static_cast<std::byte*>(memory) + i * kApart);
  }
  std::vector<std::byte*> free_;
};

uint64_t value_at(const void* address, int size) {
  uint64_t value = 0;
  std::memcpy(&value, address, static_cast<size_t>(size));
  return value;
}

class Scheduler {
 public:
  Scheduler(const Launch& launch, const std::function<void()>& body) : launch_(launch), body_(body) {}

  std::string run();

  const Launch& launch() const { return launch_; }
  void happened() { ++events_; }
  void leave() {
    Thread* const thread = current;
    thread->fiber.leave(thread->wait.kind == Wait::kDone);
  }
  void fail(std::string& why) {
    if (current == nullptr) throw std::runtime_error(why);  // a copy that lands, of no thread
    if (failure_.empty()) failure_ = where(*current) + ": " + why;
    std::string().swap(why);  // nothing of the thread is destroyed any more
    while (true) current->fiber.leave(false);
  }

 private:
  static void main_of_thread(void*);

  void start_cluster();
  void start_threads(Block&);
  bool step(Cluster&);  // whether a thread ran
  bool step(Block&);
  bool ready(Thread&) const;
  void resume(Thread&);
  void check_end(Block&);
  bool land_a_copy();
  bool wake_polling();
  uint64_t clusters() const { return uint64_t{launch_.grid.x} / launch_.cluster * launch_.grid.y * launch_.grid.z; }

  const Launch launch_;
  const std::function<void()>& body_;
  std::vector<std::unique_ptr<Cluster>> resident_;
  uint64_t next_cluster_ = 0;
  uint64_t events_ = 0, woken_at_ = UINT64_MAX;
  int wakes_ = 0;
  std::string failure_;
};

Stacks stacks;
Scheduler* scheduler = nullptr;
std::mutex one_launch;

void Scheduler::main_of_thread(void* self) {
  scheduler->body_();
  auto* const thread = static_cast<Thread*>(self);
  if (!thread->stores.empty() || !thread->store_groups.empty())
    emulated::fail("ended while bulk stores out of its block's shared memory were under way");
  scheduler->happened();
  thread->wait = {Wait::kDone};
  thread->fiber.leave(true);
}

void Scheduler::start_threads(Block& block) {
  const dim3 d = launch_.block;
  const size_t count = size_t{d.x} * d.y * d.z;
  block.threads.resize(count);
  block.warps.resize((count + 31) / 32);
  block.live = static_cast<int>(count);
  for (size_t i = 0; i < count; ++i) {
    Thread& t = block.threads[i];
    Warp& warp = block.warps[i / 32];
    t.index = {static_cast<unsigned>(i % d.x), static_cast<unsigned>(i / d.x % d.y),
               static_cast<unsigned>(i / d.x / d.y)};
    t.linear = static_cast<int>(i);
    t.lane = static_cast<int>(i % 32);
    t.block = &block;
    t.warp = &warp;
    warp.index = static_cast<int>(i / 32);
    warp.alive |= 1u << t.lane;
    warp.threads[t.lane] = &t;
    t.stack = stacks.take();
    t.fiber.start(t.stack, main_of_thread, &t);
  }
}

void Scheduler::start_cluster() {
  auto cluster = std::make_unique<Cluster>();
  const unsigned across = launch_.grid.x / launch_.cluster;
  const uint64_t i = next_cluster_++;
  for (unsigned rank = 0; rank < launch_.cluster; ++rank) {
    auto block = std::make_unique<Block>();
    block->index = {static_cast<unsigned>(i % across) * launch_.cluster + rank,
                    static_cast<unsigned>(i / across % launch_.grid.y),
                    static_cast<unsigned>(i / across / launch_.grid.y)};
    block->rank = static_cast<int>(rank);
    block->cluster = cluster.get();
    block->dynamic = static_cast<uint32_t>(launch_.smem);
    block->statics = (kSharedStart + block->dynamic + kGuard + 1023) / 1024 * 1024;
    block->statics_end = block->statics;
    const size_t bytes = block->end() + kGuard;
    block->memory = std::make_unique_for_overwrite<std::byte[]>(bytes + 1024);
    const auto start = (reinterpret_cast<uintptr_t>(block->memory.get()) + 1023) / 1024 * 1024;
    block->shared = reinterpret_cast<std::byte*>(start);
    std::memset(block->shared, kCanary, block->statics);
    std::memset(block->shared + kSharedStart, kUnwritten, block->dynamic);
    start_threads(*block);
    cluster->live += block->live;
    cluster->blocks.push_back(std::move(block));
  }
  resident_.push_back(std::move(cluster));
}

bool Scheduler::ready(Thread& t) const {
  switch (t.wait.kind) {
    case Wait::kNothing: return true;
    case Wait::kPhase: return phase_passed(t.wait.address, static_cast<uint32_t>(t.wait.value));
    case Wait::kChange: return value_at(t.wait.address, t.wait.size) != t.wait.value;
    case Wait::kCluster: return t.block->cluster->phase != t.wait.value;
    default: return false;
  }
}

void Scheduler::resume(Thread& t) {
  current = &t;
  t.wait.kind = Wait::kNothing;
  t.fiber.resume();
  current = nullptr;
  if (t.fiber.overflowed() && failure_.empty()) failure_ = where(t) + ": the emulated thread's stack overflowed";
  if (t.wait.kind != Wait::kDone) return;
  stacks.give_back(std::exchange(t.stack, nullptr));
  --t.block->live;
  --t.block->cluster->live;
  thread_ended(t);
  if (t.block->live == 0) check_end(*t.block);
}

void Scheduler::check_end(Block& block) {
  if (!failure_.empty()) return;
  if (!block.bulk.empty()) failure_ = where(block) + " ended while bulk copies into its shared memory were under way";
  for (const auto& [begin, end] : {std::pair(0u, kSharedStart), std::pair(kSharedStart + block.dynamic, block.statics)})
    for (uint32_t i = begin; i < end; ++i)
      if (block.shared[i] != std::byte{kCanary}) {
        failure_ = where(block) + " wrote outside its shared memory, at offset " +
                   std::to_string(int64_t{i} - kSharedStart) + " of " + std::to_string(block.dynamic) + " bytes";
        return;
      }
}

bool Scheduler::step(Block& block) {
  bool any = false;
  for (bool ran = true; ran && failure_.empty();) {
    ran = false;
    for (Thread& t : block.threads) {
      if (!ready(t)) continue;
      ran = any = true;
      resume(t);
      if (!failure_.empty()) return true;
    }
  }
  return any;
}

bool Scheduler::step(Cluster& cluster) {
  bool any = false;
  for (const auto& block : cluster.blocks)
    if (failure_.empty()) any |= step(*block);
  return any;
}

// The oldest copy of each block, when nothing else can run: as late as the hardware may be.
bool Scheduler::land_a_copy() {
  bool any = false;
  for (const auto& cluster : resident_)
    for (const auto& block : cluster->blocks)
      if (!block->bulk.empty()) {
        const BulkCopy copy = std::move(block->bulk.front());
        block->bulk.pop_front();
        try {
          copy.land();
        } catch (const std::runtime_error& error) {
          failure_ = where(*block) + ": a bulk copy landed: " + error.what();
        }
        any = true;
      }
  return any;
}

// A load that found the same twice is taken for a loop; it may be none. So all that wait for a change go on once more
// before it is called a deadlock: three times without anything else happening.
bool Scheduler::wake_polling() {
  wakes_ = woken_at_ == events_ ? wakes_ + 1 : 0;
  woken_at_ = events_;
  if (wakes_ > 3) return false;
  bool any = false;
  for (const auto& cluster : resident_)
    for (const auto& block : cluster->blocks)
      for (Thread& t : block->threads)
        if (t.wait.kind == Wait::kChange || t.wait.kind == Wait::kPause) {
          t.wait.kind = Wait::kNothing;
          any = true;
        }
  return any;
}

std::string Scheduler::run() {
  const uint64_t all = clusters();
  while (launch_.cooperative && next_cluster_ < all) start_cluster();
  while (failure_.empty()) {
    bool any = false;
    for (size_t i = 0; i < resident_.size() && failure_.empty(); ++i) any |= step(*resident_[i]);
    std::erase_if(resident_, [](const auto& cluster) { return cluster->live == 0; });
    if (any || !failure_.empty()) continue;
    if (land_a_copy()) continue;
    if (next_cluster_ < all) {
      start_cluster();
      continue;
    }
    if (resident_.empty()) break;
    if (!wake_polling()) failure_ = deadlock_report(resident_);
  }
  for (const auto& cluster : resident_)
    for (const auto& block : cluster->blocks)
      for (Thread& t : block->threads)
        if (t.stack != nullptr) stacks.give_back(t.stack);
  return failure_;
}

std::optional<std::string> refused(const Launch& l) {
  const size_t threads = size_t{l.block.x} * l.block.y * l.block.z;
  if (threads == 0 || threads > 1024) return "a block of " + std::to_string(threads) + " threads";
  if (l.grid.x == 0 || l.grid.y == 0 || l.grid.z == 0 || l.grid.y > 65535 || l.grid.z > 65535) return "an empty grid";
  if (l.smem > 227 << 10) return std::to_string(l.smem) + " bytes of shared memory";
  if (l.cluster == 0 || l.cluster > 8 || l.grid.x % l.cluster != 0) return "a grid that clusters do not divide";
  return std::nullopt;
}

}  // namespace

std::string run(const Launch& launch, const std::function<void()>& body) {
  if (const auto why = refused(launch)) return "cannot launch " + *why;
  const std::lock_guard lock(one_launch);
  Scheduler mine(launch, body);
  scheduler = &mine;
  std::string failure = mine.run();
  scheduler = nullptr;
  return failure;
}

const Launch& running() { return scheduler->launch(); }
void happened() {
  scheduler->happened();
  if (current != nullptr) current->polled.clear(), current->polled_next = 0;
}
void wait(Wait w) {
  current->wait = w;
  scheduler->leave();
}
void pause() { wait({Wait::kPause, "a pause"}); }

// The loop goes round when it comes back to a load that it passed; those in front of that one were of other loops. Of
// several loads it is not known which one it waits for.
void poll(const char* what, const void* address, int size) {
  auto& polled = current->polled;
  const auto seen = std::find_if(polled.begin(), polled.end(), [&](const Polled& p) { return p.address == address; });
  const auto at = static_cast<size_t>(seen - polled.begin());
  const uint64_t value = value_at(address, size);
  const bool again = at < current->polled_next;
  current->polled_next = at + 1;
  if (seen == polled.end()) {
    polled.push_back({address, value});
    scheduler->happened();
  } else if (seen->value != value) {
    seen->value = value;
    scheduler->happened();
  } else if (again) {
    polled.erase(polled.begin(), seen);
    current->polled_next = 1;
    wait(polled.size() == 1 ? Wait{Wait::kChange, what, address, value, size} : Wait{Wait::kPause, what});
  }
}

uint64_t atomic(const char* what, void* address, int size, const std::function<uint64_t(uint64_t)>& change) {
  if (value_at(address, size) == change(value_at(address, size))) poll(what, address, size);
  const uint64_t before = value_at(address, size), after = change(before);
  std::memcpy(address, &after, static_cast<size_t>(size));
  if (before != after) happened();
  return before;
}

void fail(std::string why) {
  scheduler->fail(why);
  __builtin_unreachable();
}

Block& block_of(uint32_t address) {
  Block& mine = *current->block;
  if ((address & kInCluster) == 0) return mine;
  const size_t rank = (address & ~kInCluster) >> kRankShift;
  if (rank >= mine.cluster->blocks.size()) fail("shared memory of a block that the cluster has not");
  return *mine.cluster->blocks[rank];
}

std::byte* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const char* what) {
  Block& block = block_of(address);
  const uint32_t at = address & ((1u << kRankShift) - 1);
  const bool inside = (at >= kSharedStart && at + bytes <= kSharedStart + block.dynamic) ||
                      (at >= block.statics && at + bytes <= block.statics_end);
  if (!inside || at % alignment != 0)
    fail(std::string(what) + (inside ? ": misaligned: " : ": outside shared memory: ") + std::to_string(bytes) +
         " bytes at offset " + std::to_string(int64_t{at} - kSharedStart) + " of " + std::to_string(block.dynamic) +
         (inside ? ", which must be a multiple of " : "") + (inside ? std::to_string(alignment) : ""));
  if (block.live == 0 && &block != current->block) fail(std::string(what) + ": that block of the cluster has ended");
  return block.shared + at;
}

uint32_t shared_address(const void* p) {
  const Block& block = *current->block;
  const auto* const at = static_cast<const std::byte*>(p);
  if (at < block.shared || at >= block.shared + block.end()) fail("not an address of this block's shared memory");
  return static_cast<uint32_t>(at - block.shared);
}

void* dynamic_shared_bytes(size_t) { return current->block->shared + kSharedStart; }

void* static_shared_bytes(const void* tag, size_t bytes, size_t alignment) {
  Block& block = *current->block;
  for (const StaticVariable& v : block.variables)
    if (v.tag == tag) return block.shared + v.offset;
  const auto at = static_cast<uint32_t>((block.statics_end + alignment - 1) / alignment * alignment);
  if (at + bytes > block.end()) fail("more than 48 KiB of __shared__ variables");
  block.variables.push_back({tag, at});
  block.statics_end = static_cast<uint32_t>(at + bytes);
  std::memset(block.shared + at, kUnwritten, bytes);
  return block.shared + at;
}

}  // namespace awq::emulated
