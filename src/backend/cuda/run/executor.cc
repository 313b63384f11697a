#include "backend/cuda/run/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <set>

#include "backend/cuda/current_gpu.h"
#include "backend/cuda/run/capture.h"
#include "backend/cuda/run/dense.h"
#include "backend/cuda/run/failure_as_error.h"
#include "backend/cuda/run/stage_timer.h"
#include "core/checked.h"

namespace awq::backend::cuda {
namespace {

constexpr int32_t kNoIdYet = INT_MIN;  // what no kernel writes
constexpr int kOldestCapability = 75;  // attention runs on tensor cores

Gpu opened_gpu(const DeviceInfo& device) {
  check_cuda(cudaSetDevice(device.index), "choosing the device");
  const Gpu gpu = failure_as_error([] { return current_gpu(); });
  if (gpu.capability < kOldestCapability)
    throw Error(ErrorKind::kDevice, fmt::format("{} has compute capability {}.{}; running models needs 7.5: use "
                                                "--device cpu",
                                                device.name, gpu.capability / 10, gpu.capability % 10));
  return gpu;
}

// What the kernels between the linears need beyond what config.json's checks promise: 16-byte rows.
model::ModelConfig runnable(const model::ModelConfig& c) {
  const auto require = [](bool ok, const char* name, int64_t value, const char* what) {
    if (!ok)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{} = {}: the GPU needs {}; run with --device cpu", name, value, what));
  };
  require(attention_takes(c.head_dim), "head_dim", c.head_dim, "a multiple of 8 up to 256");
  require(c.hidden % 8 == 0, "hidden_size", c.hidden, "a multiple of 8");
  require(c.intermediate % 8 == 0, "intermediate_size", c.intermediate, "a multiple of 8");
  return c;
}

// Of all versions the one that is no linear's: what is left to them is chosen for each.
constexpr std::string_view kOneLaunch = "one_launch";

InOneLaunch in_one_launch(const std::string& version) {
  if (version == kOneLaunch) return InOneLaunch::kAlways;
  return version == "auto" ? InOneLaunch::kWherePossible : InOneLaunch::kNever;
}

ExecutorRequest for_linears(ExecutorRequest request) {
  if (request.options.version == kOneLaunch) request.options.version = "auto";
  return request;
}

// Graphs are made for these numbers of contexts; a step with fewer fills up with rows that go nowhere.
int64_t graph_rows(int64_t m) { return m <= 8 ? m : (m + 7) / 8 * 8; }

}  // namespace

CudaExecutor::CudaExecutor(const ExecutorRequest& request, const WeightSource& source)
    : device_(request.device),
      config_(runnable(request.config)),
      capacity_(request.options.capacity > 0 ? request.options.capacity : config_.max_positions),
      lengths_(static_cast<size_t>(std::max(1, request.options.slots))),
      gpu_(opened_gpu(device_)),
      stream_(make_stream()),
      model_(load_model(for_linears(request), source, gpu_, stream_.get())),
      pages_(static_cast<int>(lengths_.size()), capacity_,
             page_bytes({.heads = static_cast<int>(config_.heads),
                         .kv_heads = static_cast<int>(config_.kv_heads),
                         .head_dim = static_cast<int>(config_.head_dim)},
                        config_.layers)),
      rope_(request.rope_frequencies, capacity_),
      runner_(config_, model_, pages_, rope_, gpu_, in_one_launch(request.options.version), stream_.get()),
      step_rows_(kMostTogether),
      chunk_rows_(runner_.most_rows()),
      ids_(runner_.logit_rows()),
      chunk_picked_(runner_.most_rows()),
      draws_(runner_.logit_rows()),
      chunk_segments_(runner_.most_rows()),
      chunk_read_(make_event()) {
  // Of the default stream too, which this one does not wait for: weights and the page table may still be on their way.
  check_cuda(cudaDeviceSynchronize(), "preparing the device");
}

void CudaExecutor::use_device() const { check_cuda(cudaSetDevice(device_.index), "choosing the device"); }

uint64_t CudaExecutor::memory_bytes() const {
  return model_.device_bytes() + pages_.bytes() + rope_.bytes() + runner_.bytes();
}

void CudaExecutor::make_room(int slot, int64_t tokens) {
  const int64_t total = std::min(length(slot) + tokens, capacity_);
  pages_.ensure(slot, total, stream_.get());
  rope_.extend(total, stream_.get());
}

void CudaExecutor::reserve(std::span<const int> slots, int64_t tokens) {
  use_device();
  try {
    for (const int slot : slots) make_room(slot, tokens);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kNoRoom) throw;  // the text may end before the room does
  }
  if (std::ssize(slots) <= kMostTogether && !slots.empty()) graph(graph_rows(std::ssize(slots)), false);
}

void CudaExecutor::reset(int slot) {
  lengths_.at(static_cast<size_t>(slot)) = 0;
  pages_.release(slot);
}

void CudaExecutor::forward(std::span<const SequenceInput> inputs, MatrixView<float> logits) {
  AWQ_ASSERT(logits.cols == config_.vocab);
  check_inputs(*this, inputs, capacity_, logits.rows);
  run(inputs, {.logits = logits, .ids = {}});
}

bool CudaExecutor::next_tokens(std::span<const SequenceInput> inputs, std::span<const TokenDraw> draws,
                               std::span<int32_t> ids) {
  AWQ_ASSERT(draws.size() == inputs.size() && ids.size() == inputs.size());
  AWQ_ASSERT(std::none_of(inputs.begin(), inputs.end(), [](const SequenceInput& in) { return in.all_logits; }));
  check_inputs(*this, inputs, capacity_, std::ssize(ids));
  const bool draw = std::any_of(draws.begin(), draws.end(), [](const TokenDraw& d) { return d.temperature > 0; });
  run(inputs, {.logits = {}, .ids = ids, .draws = draw ? draws : std::span<const TokenDraw>()});
  return true;
}

void CudaExecutor::run(std::span<const SequenceInput> inputs, Wanted wanted) {
  use_device();
  for (const SequenceInput& in : inputs) make_room(in.slot, std::ssize(in.tokens));
  const bool one_each =
      std::all_of(inputs.begin(), inputs.end(), [](const SequenceInput& in) { return in.tokens.size() == 1; });
  if (one_each && std::ssize(inputs) <= kMostTogether)
    run_together(inputs, wanted);
  else
    run_chunks(inputs, wanted);
}

// ---- one token of each context ----

void CudaExecutor::run_together(std::span<const SequenceInput> inputs, Wanted& wanted) {
  const int64_t m = graph_rows(std::ssize(inputs));
  cudaGraphExec_t replayed = graph(m, !wanted.draws.empty());
  describe_draws(wanted, std::ssize(inputs), m);
  const std::span<StepRow> rows = step_rows_.host();
  std::fill_n(rows.begin(), m, StepRow{});
  for (size_t i = 0; i < inputs.size(); ++i)
    rows[i] = {inputs[i].tokens[0], inputs[i].slot, static_cast<int32_t>(length(inputs[i].slot))};
  const bool most_likely = !wanted.ids.empty() && wanted.draws.empty();
  if (most_likely) std::fill_n(ids_.host().begin(), m, kNoIdYet);
  check_cuda(cudaGraphLaunch(replayed, stream_.get()), "launching a step");
  if (most_likely) await_ids(m);
  deliver(std::ssize(inputs), wanted, most_likely);
  for (const SequenceInput& in : inputs) ++lengths_[static_cast<size_t>(in.slot)];
}

void CudaExecutor::step(int64_t m, bool draws) {
  runner_.embed(step_rows_.device(), m);
  runner_.run_blocks(m, {});
  runner_.run_head(m, nullptr);
  runner_.pick(m, ids_.device());
  if (draws) runner_.draw(m, draws_.device(), ids_.device());
}

// Of the next `rows` rows of a step of m; those that fill it up get the most likely token.
void CudaExecutor::describe_draws(const Wanted& wanted, int64_t rows, int64_t m) {
  if (wanted.draws.empty()) return;
  std::fill_n(draws_.host().begin(), m, DrawNumbers{});
  for (int64_t r = 0; r < rows; ++r) {
    const TokenDraw& d = wanted.draws[static_cast<size_t>(wanted.done + r)];
    draws_.host()[static_cast<size_t>(r)] = draw_numbers(d.temperature, d.top_k, d.top_p, d.uniform, config_.vocab);
  }
}

cudaGraphExec_t CudaExecutor::graph(int64_t m, bool draws) {
  const auto found = graphs_.find({m, draws});
  if (found != graphs_.end()) return found->second.get();
  // Once outside of a capture, with rows that go nowhere: loads the kernels, and a launch that fails is reported as
  // such.
  std::fill_n(step_rows_.host().begin(), m, StepRow{});
  std::fill_n(draws_.host().begin(), m, DrawNumbers{});
  step(m, draws);
  check_cuda(cudaStreamSynchronize(stream_.get()), "running a step for the first time");
  GraphExec made = captured(stream_.get(), [&] { step(m, draws); });
  return graphs_.emplace(std::pair(m, draws), std::move(made)).first->second.get();
}

// ---- prompts ----

void CudaExecutor::run_chunks(std::span<const SequenceInput> inputs, Wanted& wanted) {
  const int64_t most = runner_.most_rows();
  const auto begin_chunk = [&] {
    check_cuda(cudaEventSynchronize(chunk_read_.get()), "running a prompt");
    chunk_rows_used_ = chunk_segments_used_ = chunk_picked_used_ = 0;
  };
  begin_chunk();
  for (const SequenceInput& in : inputs)
    for (int64_t at = 0; at < std::ssize(in.tokens);) {
      const int64_t count = std::min(std::ssize(in.tokens) - at, most - chunk_rows_used_), row = chunk_rows_used_;
      const auto position = static_cast<int32_t>(length(in.slot));
      chunk_segments_.host()[static_cast<size_t>(chunk_segments_used_++)] = {
          static_cast<int32_t>(row), static_cast<int32_t>(count), in.slot, position};
      for (int64_t i = 0; i < count; ++i) {
        chunk_rows_.host()[static_cast<size_t>(chunk_rows_used_++)] = {in.tokens[static_cast<size_t>(at + i)], in.slot,
                                                                       position + static_cast<int32_t>(i)};
        if (in.all_logits || at + i + 1 == std::ssize(in.tokens))
          chunk_picked_.host()[static_cast<size_t>(chunk_picked_used_++)] = static_cast<int32_t>(row + i);
      }
      at += count;
      lengths_[static_cast<size_t>(in.slot)] += count;
      if (chunk_rows_used_ < most) continue;
      run_chunk(wanted);
      begin_chunk();
    }
  if (chunk_rows_used_ > 0) run_chunk(wanted);
}

void CudaExecutor::run_chunk(Wanted& wanted) {
  const auto copy = [&](void* to, const void* from, size_t bytes) {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.get()), "describing a prompt");
  };
  const auto segments = chunk_segments_.host().first(static_cast<size_t>(chunk_segments_used_));
  const auto picked = chunk_picked_.host().first(static_cast<size_t>(chunk_picked_used_));
  copy(runner_.segments(), segments.data(), segments.size_bytes());
  if (!picked.empty()) copy(runner_.picked(), picked.data(), picked.size_bytes());
  runner_.embed(chunk_rows_.device(), chunk_rows_used_);
  check_cuda(cudaEventRecord(chunk_read_.get(), stream_.get()), "recording an event");
  int longest = 0;
  for (const Segment& s : segments) longest = std::max(longest, s.count);
  runner_.run_blocks(chunk_rows_used_, {runner_.segments(), static_cast<int>(segments.size()), longest});
  for (int64_t first = 0; first < std::ssize(picked); first += runner_.logit_rows()) {
    const int64_t rows = std::min(runner_.logit_rows(), std::ssize(picked) - first);
    runner_.run_head(rows, runner_.picked() + first);
    if (!wanted.ids.empty()) runner_.pick(rows, ids_.device());
    if (!wanted.draws.empty()) {
      describe_draws(wanted, rows, rows);
      runner_.draw(rows, draws_.device(), ids_.device());
    }
    deliver(rows, wanted);
  }
}

// ---- what came of it ----

// The last kernel of a step writes ids into host memory, where they are seen some microseconds before the driver says
// that the step has ended.
void CudaExecutor::await_ids(int64_t m) {
  constexpr int kLooksBetween = 1 << 26;  // questions to the driver whether something has failed: some 0.1 s
  for (int32_t& id : ids_.host().first(static_cast<size_t>(m)))
    for (int looks = 1; std::atomic_ref(id).load(std::memory_order_acquire) == kNoIdYet; ++looks)
      if (looks % kLooksBetween == 0)
        if (const cudaError_t status = cudaStreamQuery(stream_.get()); status != cudaErrorNotReady)
          check_cuda(status, "running the model");
}

// Waits for the device, unless what is wanted is `here`: the one place where a step does.
void CudaExecutor::deliver(int64_t rows, Wanted& wanted, bool here) {
  if (wanted.ids.empty()) {
    const MatrixView<float> to = wanted.logits.rows_from(wanted.done, rows);
    check_cuda(cudaMemcpy2DAsync(to.data, static_cast<size_t>(to.stride) * sizeof(float), runner_.logits(),
                                 static_cast<size_t>(config_.vocab) * sizeof(float),
                                 static_cast<size_t>(config_.vocab) * sizeof(float), static_cast<size_t>(rows),
                                 cudaMemcpyDeviceToHost, stream_.get()),
               "reading logits");
  }
  if (!here) check_cuda(cudaStreamSynchronize(stream_.get()), "running the model");
  if (!wanted.ids.empty()) std::copy_n(ids_.host().begin(), rows, wanted.ids.begin() + wanted.done);
  wanted.done += rows;
}

// ---- where the time goes ----

std::vector<StageTime> CudaExecutor::time_stages(int sequences, int64_t context) {
  use_device();
  const int64_t m = std::min<int64_t>(sequences, kMostTogether);
  const int64_t position = std::clamp<int64_t>(context, 1, capacity_) - 1;
  for (int64_t i = 0; i < m; ++i) {
    reset(static_cast<int>(i));
    make_room(static_cast<int>(i), position + 1);
    step_rows_.host()[static_cast<size_t>(i)] = {0, static_cast<int32_t>(i), static_cast<int32_t>(position)};
  }
  runner_.embed(step_rows_.device(), m);
  runner_.run_blocks(m, {});  // leaves numbers in every buffer
  std::vector<StageTime> times;
  for (const Stage& stage : runner_.stages(m, {}, ids_.device())) {
    const int64_t calls = stage.of_block ? config_.layers : 1;
    const double us = replay_us(stream_.get(), [&] {
      for (int64_t layer = 0; layer < calls; ++layer) stage.launch(layer);
    });
    uint64_t bytes = stage.bytes(0);
    if (stage.name == "attention") bytes = static_cast<uint64_t>(m * context) * cache_bytes() / config_.layers;
    times.push_back({stage.name, us / static_cast<double>(calls), calls, bytes});
  }
  times.push_back({"whole step", replay_us(stream_.get(), [&] { step(m, false); }), 0, 0});
  for (int64_t i = 0; i < m; ++i) reset(static_cast<int>(i));
  return times;
}

// "gemv_w4a16_bulk_sm90a + dense_gemv_f16 at m = 1, ...": the kernels of all linears, each named once.
std::string CudaExecutor::kernels() const {
  use_device();
  std::string line;
  for (const int64_t m : {int64_t{1}, int64_t{512}}) {
    std::set<std::string> names = {dense_kernel(1)};  // lm_head: of the last token alone
    if (runner_.in_one(m, {}))
      names.insert("token_step_sm90a");
    else
      for (const DeviceBlock& b : model_.blocks)
        for (const RunLinear* linear : {&b.qkv, &b.o, &b.gate_up, &b.down}) names.insert(linear->kernel_for(m));
    for (const std::string& name : names)
      line += fmt::format("{}{}", line.empty() || line.back() == ' ' ? "" : " + ", name);
    line += fmt::format(" at m = {}{}", m, m == 1 ? ", " : "");
  }
  return line;
}

}  // namespace awq::backend::cuda
