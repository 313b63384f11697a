#include "backend/cuda/emulated/instructions.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <iterator>
#include <string_view>

#include "backend/cuda/emulated/collectives.h"
#include "backend/cuda/emulated/device_memory.h"
#include "backend/cuda/emulated/grid.h"
#include "backend/cuda/emulated/mbarrier.h"

namespace awq::emulated {
namespace {

void nothing(Call&) {}

void lop3(Call& c) {
  const uint32_t table = c.u32(4);
  uint32_t out = 0;
  for (uint32_t term = 0; term < 8; ++term) {
    if ((table >> term & 1) == 0) continue;
    const auto side = [&](size_t i, uint32_t bit) { return (term & bit) != 0 ? c.u32(i) : ~c.u32(i); };
    out |= side(1, 4) & side(2, 2) & side(3, 1);
  }
  c.set(0, uint64_t{out});
}

// ---- ld, st, atom, red: the words of the opcode say where, how wide and how many ----

size_t bytes_of_type(const std::string& type) { return std::stoul(type.substr(1)) / 8; }
size_t elements(const Instruction& i) { return i.has("v4") ? 4 : i.has("v2") ? 2 : 1; }

std::byte* address_of(const Call& c, size_t place, size_t bytes) {
  for (const char* space : {"shared", "shared::cta", "shared::cluster"})
    if (c.instruction.has(space)) return shared_bytes(c.u32(place), bytes, bytes, c.name());
  auto* const at = c.pointer<std::byte>(place);
  if (reinterpret_cast<uintptr_t>(at) % bytes != 0) fail(std::string(c.name()) + ": misaligned address");
  return at;
}

uint64_t read(const std::byte* at, size_t bytes) {
  uint64_t v = 0;
  std::memcpy(&v, at, bytes);
  return v;
}

void load(Call& c) {
  const size_t size = bytes_of_type(c.instruction.parts.back()), count = elements(c.instruction);
  const std::byte* const at = address_of(c, count, size * count);
  if (c.instruction.has("acquire") || c.instruction.has("relaxed") || c.instruction.has("volatile"))
    for (size_t i = 0; i < count; ++i) poll(c.name(), at + i * size, static_cast<int>(size));
  for (size_t i = 0; i < count; ++i) c.set(i, read(at + i * size, size));
}

void store(Call& c) {
  const size_t size = bytes_of_type(c.instruction.parts.back()), count = elements(c.instruction);
  std::byte* const at = address_of(c, 0, size * count);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t v = c.u64(1 + i);
    std::memcpy(at + i * size, &v, size);
  }
  if (c.instruction.has("release") || c.instruction.has("relaxed") || c.instruction.has("volatile")) happened();
}

uint64_t combined(const Call& c, const std::string& type, const std::string& op, uint64_t old, size_t first) {
  const uint64_t v = c.u64(first);
  if (op == "exch") return v;
  if (op == "cas") return old == v ? c.u64(first + 1) : old;
  if (op == "or") return old | v;
  if (op == "and") return old & v;
  if (type == "f32" && op == "add")
    return std::bit_cast<uint32_t>(std::bit_cast<float>(static_cast<uint32_t>(old)) + c.f32(first));
  if (op == "add") return old + v;
  if (op == "max" && type[0] == 'u') return std::max(old, v);
  if (op == "min" && type[0] == 'u') return std::min(old, v);
  fail(std::string("the emulator does not know the instruction ") + c.name());
}

void atomically(Call& c, bool returns) {
  const auto& parts = c.instruction.parts;
  const std::string &type = parts.back(), &op = parts[parts.size() - 2];
  const size_t size = bytes_of_type(type), place = returns ? 1 : 0;
  std::byte* const at = address_of(c, place, size);
  const uint64_t old =
      atomic(c.name(), at, static_cast<int>(size), [&](uint64_t now) { return combined(c, type, op, now, place + 1); });
  if (returns) c.set(0, old);
}
void atom(Call& c) { atomically(c, true); }
void red(Call& c) { atomically(c, false); }

// ---- cp.async: lands when its thread waits for it ----

void land(const std::vector<ThreadCopy>& copies) {
  for (const ThreadCopy& copy : copies) {
    std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.bytes));
    std::memset(copy.to + copy.bytes, 0, static_cast<size_t>(copy.zeros));
  }
}

void thread_copy(Call& c) {
  const uint32_t size = c.u32(2), read_bytes = c.count() > 3 ? c.u32(3) : size;
  if (read_bytes > size) fail(std::string(c.name()) + " reads more than it writes");
  std::byte* const to = shared_bytes(c.u32(0), size, size, c.name());
  const auto* const from = c.pointer<const std::byte>(1);
  if (read_bytes > 0) check_device_memory(from, read_bytes, size, c.name());
  current->copies.push_back({to, from, static_cast<int>(read_bytes), static_cast<int>(size - read_bytes)});
}

void commit_group(Call&) {
  current->groups.push_back(std::move(current->copies));
  current->copies.clear();
}

void land_all_but(size_t pending) {
  auto& groups = current->groups;
  for (; groups.size() > pending; groups.erase(groups.begin())) land(groups.front());
}
void wait_group(Call& c) { land_all_but(c.u32(0)); }
void wait_all(Call& c) {
  commit_group(c);
  land_all_but(0);
}

// ---- barriers ----

void bar_sync(Call& c) {
  block_barrier(c.name(), static_cast<int>(c.u32(0)), c.count() > 1 ? static_cast<int>(c.u32(1)) : 0, true);
}
void bar_arrive(Call& c) { block_barrier(c.name(), static_cast<int>(c.u32(0)), static_cast<int>(c.u32(1)), false); }
void arrive_cluster(Call&) { cluster_arrive(); }
void wait_cluster(Call&) { cluster_wait(); }

void init(Call& c) { mbarrier_init(c.u32(0), c.u32(1)); }
void arrive(Call& c) {
  const bool expects = c.instruction.has("expect_tx");
  mbarrier_arrive(c.u32(1), !expects && c.count() > 2 ? c.u32(2) : 1, expects ? static_cast<int32_t>(c.u32(2)) : 0);
}
void expect(Call& c) { mbarrier_expect(c.u32(0), static_cast<int32_t>(c.u32(1))); }
void wait_parity(Call& c) { mbarrier_wait(c.u32(0), c.u32(1), "mbarrier.try_wait"); }
void test_parity(Call& c) {  // the loop around it is the kernel's
  const bool passed = mbarrier_test(c.u32(1), c.u32(2));
  if (!passed) pause();
  c.set(0, uint64_t{passed});
}

void elect(Call& c) {
  const uint32_t lanes = ballot("elect.sync", c.u32(1), true);
  c.set(0, uint64_t{(lanes & -lanes) == 1u << current->lane});
}

void map_rank(Call& c) {
  if (c.u32(2) >= current->block->cluster->blocks.size()) fail("mapa names a block that the cluster has not");
  c.set(0, uint64_t{kInCluster | c.u32(2) << kRankShift | (c.u32(1) & ((1u << kRankShift) - 1))});
}

void move(Call& c) { c.set(0, read_special(c.u64(1))); }
void sleep(Call&) { pause(); }
void power_of_two(Call& c) { c.set(0, std::exp2(c.f32(1))); }

// ---- the table ----

struct Row {
  std::string_view start;  // of the opcode; the first that fits
  void (*run)(Call&);
};

constexpr Row kRows[] = {
    {"lop3.b32", lop3},
    {"ex2.approx.ftz.f32", power_of_two},
    {"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", multiply_m16n8k16_f16},
    {"mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", multiply_m16n8k16_bf16},
    {"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", multiply_m16n8k8_f16},
    {"ldmatrix.sync.aligned.m8n8.", load_matrices},
    {"stmatrix.sync.aligned.m8n8.", store_matrices},
    {"movmatrix.sync.aligned.m8n8.trans.b16", transpose_matrix},
    {"ld.", load},
    {"st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32", store_counted},
    {"st.", store},
    {"atom.", atom},
    {"red.", red},
    {"cp.async.cg.shared.global", thread_copy},
    {"cp.async.ca.shared.global", thread_copy},
    {"cp.async.commit_group", commit_group},
    {"cp.async.wait_group", wait_group},
    {"cp.async.wait_all", wait_all},
    {"cp.async.bulk.tensor.", tensor_copy},
    {"cp.async.bulk.commit_group", commit_stores},
    {"cp.async.bulk.wait_group", wait_for_stores},
    {"cp.async.bulk.prefetch", nothing},
    {"cp.async.bulk.shared", bulk_copy},
    {"bar.sync", bar_sync},
    {"barrier.sync", bar_sync},
    {"bar.arrive", bar_arrive},
    {"barrier.cluster.arrive", arrive_cluster},
    {"barrier.cluster.wait", wait_cluster},
    {"mbarrier.init", init},
    {"mbarrier.arrive", arrive},
    {"mbarrier.expect_tx", expect},
    {"mbarrier.wait.parity", wait_parity},
    {"mbarrier.test_wait.parity", test_parity},
    {"wgmma.fence", nothing},
    {"wgmma.commit_group", commit_products},
    {"wgmma.wait_group", wait_for_products},
    {"elect.sync", elect},
    {"mapa.shared::cluster.u32", map_rank},
    {"mov.u32", move},
    {"mov.u64", move},
    {"nanosleep.u32", sleep},
    // What orders memory or moves what nobody sees: here every access is in order.
    {"fence.", nothing},
    {"membar.", nothing},
    {"prefetch.", nothing},
    {"griddepcontrol.", nothing},
    {"setmaxnreg.", nothing},
};

struct Special {
  std::string_view name;
  uint64_t (*read)();
};
constexpr Special kSpecial[] = {
    {"%%laneid", [] { return static_cast<uint64_t>(current->lane); }},
    {"%%smid", [] { return uint64_t{current->block->index.x}; }},
    {"%%cluster_ctarank", [] { return static_cast<uint64_t>(current->block->rank); }},
    {"%%cluster_nctarank", [] { return uint64_t{running().cluster}; }},
    {"%%globaltimer",
     [] { return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()); }},
};
constexpr uint64_t kSpecialMark = 0x5bec1a1000000000ull;

}  // namespace

void (*find_instruction(const std::string& opcode))(Call&) {
  const auto* const row = std::find_if(std::begin(kRows), std::end(kRows),
                                       [&](const Row& r) { return std::string_view(opcode).starts_with(r.start); });
  return row == std::end(kRows) ? nullptr : row->run;
}

uint64_t special_register(const std::string& name) {
  const auto* const found =
      std::find_if(std::begin(kSpecial), std::end(kSpecial), [&](const Special& s) { return s.name == name; });
  return found == std::end(kSpecial) ? 0 : kSpecialMark + static_cast<uint64_t>(found - std::begin(kSpecial));
}

uint64_t read_special(uint64_t mark) {
  return mark - kSpecialMark < std::size(kSpecial) ? kSpecial[mark - kSpecialMark].read() : mark;
}

}  // namespace awq::emulated
