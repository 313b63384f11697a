#include "backend/cuda/run/token_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "awq/error.h"
#include "backend/cuda/kernels/tensor_maps.h"
#include "backend/cuda/run/token_step_limits.h"
#include "backend/cuda/run/upload.h"

namespace awq::backend::cuda {
namespace {

constexpr RunLinear DeviceBlock::*kOrder[kStepLinears] = {&DeviceBlock::qkv, &DeviceBlock::o, &DeviceBlock::gate_up,
                                                          &DeviceBlock::down};

using BlockViews = std::array<PackedView, kStepLinears>;

// Every linear of every block, or nothing where one is not packed, or in groups of its own size.
std::vector<BlockViews> packed_views(const DeviceModel& model) {
  std::vector<BlockViews> all;
  for (const DeviceBlock& block : model.blocks) {
    BlockViews& views = all.emplace_back();
    for (int i = 0; i < kStepLinears; ++i) {
      const std::optional<PackedView> view = (block.*kOrder[i]).packed();
      if (!view) return {};
      views[static_cast<size_t>(i)] = *view;
      if (view->layout.group != all[0][0].layout.group) return {};
    }
  }
  return all;
}

// Of gate and up, eight rows each.
int64_t gate_up_tiles(const model::ModelConfig& c) { return c.intermediate * 2 / kTileRows; }

// With more blocks than this some would have nothing of gate and up (token_step_exchange.cuh).
int blocks_of_grid(const model::ModelConfig& c, int sms) {
  return static_cast<int>(std::min<int64_t>(sms, gate_up_tiles(c)));
}

bool takes(const model::ModelConfig& c, int group, int grid) {
  const int64_t heads = c.heads / c.kv_heads;
  return (group == 32 || group == 64 || group == 128) && heads <= kMostStepHeads && c.head_dim <= kMostStepHeadDim &&
         c.kv_heads <= grid && c.hidden <= kMostStepHidden;
}

StepShape shape_of(const TileLayout& layout) {
  return {static_cast<int>(layout.n), static_cast<int>(layout.k),
          static_cast<int>((layout.n + kTileRows - 1) / kTileRows)};
}

StepMaps maps_of(const PackedView& w) {
  CUtensorMap maps[3];
  check_cuda(make_tile_maps(w.layout, w.qweight, w.scales, w.zeros, kStepK / kTileK, kStepK / w.layout.group, maps),
             "describing weights to the driver");
  return {maps[0], maps[1], maps[2]};
}

// What the kernel is told of a model and a GPU, but for where things are.
TokenStepArgs without_addresses(const model::ModelConfig& c, const BlockViews& views, const Gpu& gpu) {
  TokenStepArgs a;
  a.layers = static_cast<int>(c.layers);
  a.group = views[0].layout.group;
  a.grid = blocks_of_grid(c, gpu.sms);
  a.attention = {.heads = static_cast<int>(c.heads),
                 .kv_heads = static_cast<int>(c.kv_heads),
                 .head_dim = static_cast<int>(c.head_dim)};
  a.norm_eps = static_cast<float>(c.norm_eps);
  for (int i = 0; i < kStepLinears; ++i) a.shapes[i] = shape_of(views[static_cast<size_t>(i)].layout);
  return a;
}

// Of the ring; too few if the input alone fills shared memory.
int ring_stages(const TokenStepArgs& a, const Gpu& gpu) {
  int stages = kMostStepStages;
  while (stages > 0 && token_step_smem(a, stages) > gpu.smem_per_block) --stages;
  return stages;
}

}  // namespace

StepExchange step_exchange(const TokenStepArgs& a) {
  const AttentionShape& s = a.attention;
  StepExchange at;
  const auto next = [&at](int64_t numbers, size_t size) {
    const int from = at.bytes;
    at.bytes += static_cast<int>((static_cast<size_t>(numbers) * size + 127) / 128 * 128);
    return from;
  };
  at.qkv = next(a.shapes[kStepQkv].n, sizeof(__half));
  at.partials = next(int64_t{s.heads} * token_step_splits(s, a.grid) * (s.head_dim + 2), sizeof(float));
  at.attended = next(a.shapes[kStepO].k, sizeof(__half));
  at.middle = next(a.shapes[kStepO].n, sizeof(float));
  at.activated = next(a.shapes[kStepDown].k, sizeof(__half));
  at.hidden = next(a.shapes[kStepDown].n, sizeof(float));
  return at;
}

std::optional<Error> TokenStep::refusal(const model::ModelConfig& c, const DeviceModel& model, const Gpu& gpu) {
  if (gpu.capability != 90)
    return Error(ErrorKind::kDevice,
                 fmt::format("Kernel version not supported on this hardware: one_launch needs compute capability 9.0, "
                             "this device has {}.{}; use auto",
                             gpu.capability / 10, gpu.capability % 10));
  const std::vector<BlockViews> views = packed_views(model);
  const int grid = blocks_of_grid(c, gpu.sms);
  if (views.empty() || !takes(c, views[0][0].layout.group, grid))
    return Error(ErrorKind::kBadInput,
                 fmt::format("one_launch takes linears in one group size of 32, 64 or 128, without fp16 channels, at "
                             "most {} query heads a kv head, at most {} kv heads, heads of up to {} numbers and a "
                             "hidden size of up to {}; this model has something else: use --version auto",
                             kMostStepHeads, grid, kMostStepHeadDim, kMostStepHidden));
  const TokenStepArgs args = without_addresses(c, views[0], gpu);
  if (ring_stages(args, gpu) < kLeastStepStages)
    return Error(
        ErrorKind::kBadInput,
        fmt::format("one_launch keeps an input of {} numbers in shared memory, and {} bytes of it are left for "
                    "weights: use --version auto",
                    std::max(c.hidden, c.intermediate), gpu.smem_per_block - token_step_smem(args, 0)));
  return std::nullopt;
}

TokenStep::TokenStep(const model::ModelConfig& c, const DeviceModel& model, const Gpu& gpu, cudaStream_t stream) {
  if (const std::optional<Error> refused = refusal(c, model, gpu)) throw *refused;
  const std::vector<BlockViews> views = packed_views(model);
  args_ = without_addresses(c, views[0], gpu);
  args_.stages = ring_stages(args_, gpu);

  std::vector<StepBlock> blocks(model.blocks.size());
  for (size_t layer = 0; layer < blocks.size(); ++layer) {
    const DeviceBlock& from = model.blocks[layer];
    StepBlock& to = blocks[layer];
    for (int i = 0; i < kStepLinears; ++i) {
      to.maps[i] = maps_of(views[layer][static_cast<size_t>(i)]);
      to.beside.bias[i] = views[layer][static_cast<size_t>(i)].bias;
    }
    to.beside.input_norm = from.input_norm.as<float>();
    to.beside.post_attention_norm = from.post_attention_norm.as<float>();
    const bool slides = layer < c.layer_slides.size() && c.layer_slides[layer];
    to.beside.heads = {.q_norm = from.q_norm.as<float>(),
                       .k_norm = from.k_norm.as<float>(),
                       .sliding_window = slides ? static_cast<int>(c.sliding_window) : 0};
  }
  upload(blocks_, blocks, stream);
  check_cuda(cudaStreamSynchronize(stream), "copying weights to the device");  // `blocks` goes away
  args_.blocks = blocks_.as<StepBlock>();
  args_.exchange_at = step_exchange(args_);
  exchange_.reserve(2 * static_cast<size_t>(args_.exchange_at.bytes));
  turn_.reserve(sizeof(uint32_t));
  check_cuda(cudaMemsetAsync(exchange_.as(), 0xff, exchange_.bytes(), stream), "preparing working memory");
  check_cuda(cudaMemsetAsync(turn_.as(), 0, turn_.bytes(), stream), "preparing working memory");
  args_.exchange = exchange_.as<unsigned char>();
  args_.turn = turn_.as<uint32_t>();
}

uint64_t TokenStep::bytes() const { return blocks_.bytes() + exchange_.bytes() + turn_.bytes(); }

cudaError_t TokenStep::launch(const Memory& memory, const LaunchTarget& on) const {
  TokenStepArgs a = args_;
  a.hidden = memory.hidden;
  a.row = memory.row;
  a.pages = memory.pages;
  a.rope = memory.rope;
  return launch_token_step(a, on);
}

}  // namespace awq::backend::cuda
