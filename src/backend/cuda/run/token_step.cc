#include "backend/cuda/run/token_step.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

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

bool takes(const model::ModelConfig& c, int group, int sms) {
  const int64_t heads = c.heads / c.kv_heads;
  return (group == 32 || group == 64 || group == 128) && heads <= kMostStepHeads && c.head_dim <= kMostStepHeadDim &&
         c.kv_heads <= sms && c.hidden <= kMostStepHidden && c.intermediate % kTileRows == 0;
}

int tiles(int64_t n) { return static_cast<int>((n + kTileRows - 1) / kTileRows); }

StepShape shape_of(const TileLayout& layout, int linear) {
  const int parts = linear == kStepGateUp ? 2 : 1;
  return {static_cast<int>(layout.n), static_cast<int>(layout.k), tiles(layout.n / parts), parts};
}

StepMaps maps_of(const PackedView& w) {
  CUtensorMap maps[3];
  check_cuda(make_tile_maps(w.layout, w.qweight, w.scales, w.zeros, kStepK / kTileK, kStepK / w.layout.group, maps),
             "describing weights to the driver");
  return {maps[0], maps[1], maps[2]};
}

}  // namespace

TokenStep::TokenStep(const model::ModelConfig& c, const DeviceModel& model, const Gpu& gpu, cudaStream_t stream)
    : sms_(gpu.sms) {
  const std::vector<BlockViews> views = packed_views(model);
  if (gpu.capability != 90)
    throw Error(ErrorKind::kDevice,
                fmt::format("Kernel version not supported on this hardware: one_launch needs compute capability 9.0, "
                            "this device has {}.{}; use auto",
                            gpu.capability / 10, gpu.capability % 10));
  if (views.empty() || !takes(c, views[0][0].layout.group, sms_))
    throw Error(ErrorKind::kBadInput,
                fmt::format("one_launch takes linears in one group size of 32, 64 or 128, without fp16 channels, at "
                            "most {} query heads a kv head, no more kv heads than multiprocessors ({}), heads of up to "
                            "{} numbers and a hidden size of up to {}; this model has something else: use --version "
                            "auto",
                            kMostStepHeads, sms_, kMostStepHeadDim, kMostStepHidden));
  args_.layers = static_cast<int>(c.layers);
  args_.group = views[0][0].layout.group;
  args_.attention = {.heads = static_cast<int>(c.heads),
                     .kv_heads = static_cast<int>(c.kv_heads),
                     .head_dim = static_cast<int>(c.head_dim)};
  args_.norm_eps = static_cast<float>(c.norm_eps);
  for (int i = 0; i < kStepLinears; ++i) args_.shapes[i] = shape_of(views[0][static_cast<size_t>(i)].layout, i);
  int stages = kMostStepStages;
  while (token_step_smem(args_, stages) > gpu.smem_per_block) --stages;
  if (stages < kLeastStepStages)
    throw Error(ErrorKind::kBadInput,
                fmt::format("one_launch keeps an input of {} numbers in shared memory, and {} bytes of it are left for "
                            "weights: use --version auto",
                            std::max(c.hidden, c.intermediate), gpu.smem_per_block - token_step_smem(args_, 0)));

  std::vector<StepBlock> blocks(model.blocks.size());
  for (size_t layer = 0; layer < blocks.size(); ++layer) {
    const DeviceBlock& from = model.blocks[layer];
    StepBlock& to = blocks[layer];
    for (int i = 0; i < kStepLinears; ++i) {
      to.maps[i] = maps_of(views[layer][static_cast<size_t>(i)]);
      to.bias[i] = views[layer][static_cast<size_t>(i)].bias;
    }
    to.norm[kStepQkv] = from.input_norm.as<float>();
    to.norm[kStepGateUp] = from.post_attention_norm.as<float>();
    to.q_norm = from.q_norm.as<float>();
    to.k_norm = from.k_norm.as<float>();
    const bool slides = layer < c.layer_slides.size() && c.layer_slides[layer];
    to.sliding_window = slides ? static_cast<int>(c.sliding_window) : 0;
  }
  upload(blocks_, blocks, stream);
  check_cuda(cudaStreamSynchronize(stream), "copying weights to the device");  // `blocks` goes away
  args_.blocks = blocks_.as<StepBlock>();
  const int splits = token_step_splits(args_.attention, sms_);
  partials_.reserve(static_cast<size_t>(args_.attention.kv_heads) * static_cast<size_t>(splits) * kMostStepHeads *
                    (kMostStepHeadDim + 2) * sizeof(float));
  counters_.reserve(sizeof(int32_t) * (static_cast<size_t>(args_.attention.kv_heads) + 1));
  check_cuda(cudaMemsetAsync(counters_.as(), 0, counters_.bytes(), stream), "clearing working memory");
  args_.arrived = counters_.as<uint32_t>();
  args_.scratch = {partials_.as<float>(), counters_.as<int32_t>(sizeof(int32_t))};
  args_.stages = stages;
}

uint64_t TokenStep::bytes() const { return blocks_.bytes() + partials_.bytes() + counters_.bytes(); }

cudaError_t TokenStep::launch(const Memory& memory, const LaunchTarget& on) const {
  TokenStepArgs a = args_;
  a.hidden = memory.hidden;
  a.qkv = memory.qkv;
  a.attended = memory.attended;
  a.activated = memory.activated;
  a.x[kStepO] = memory.attended;
  a.x[kStepDown] = memory.activated;
  a.row = memory.row;
  a.pages = memory.pages;
  a.rope = memory.rope;
  return launch_token_step(a, sms_, on);
}

}  // namespace awq::backend::cuda
