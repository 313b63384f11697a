// The engine of quantization on the GPU against the CPU's float32: one block of every architecture at hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>

#include "awq/error.h"
#include "backend/cuda/gpu/usable_gpu.h"
#include "backend/device.h"
#include "core/half.h"
#include "io/checkpoint.h"
#include "model/architectures.h"
#include "quant/candidates.h"
#include "source_dir.h"

namespace awq::backend {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> models() {
  std::vector<std::string> found = {test::demo_folder().string()};
  for (const char* name : {"llama", "llama3-rope", "mistral", "qwen2", "qwen3"})
    found.push_back(test::arch_folder(name).string());
  return found;
}

struct Block {
  std::vector<std::vector<std::byte>> memory;
  std::vector<BlockTensor> tensors;
};

struct Model {
  explicit Model(const std::string& folder)
      : checkpoint(folder), config(model::parse_config(checkpoint.config_text(), folder)) {}
  Block block(int64_t layer) const {
    Block b;
    const std::string prefix = model::block_prefix(layer);
    for (const model::TensorNeed& need : model::block_tensors(config, layer)) {
      const io::TensorInfo& info = checkpoint.info(need.name);
      b.memory.emplace_back(info.bytes());
      checkpoint.read_bytes(need.name, b.memory.back());
      b.tensors.push_back({need.name.substr(prefix.size()), need.shape, info.dtype, {}});
    }
    for (size_t i = 0; i < b.tensors.size(); ++i) b.tensors[i].bytes = b.memory[i];
    return b;
  }
  io::Checkpoint checkpoint;
  model::ModelConfig config;
};

struct Size {
  int64_t windows = 3, window = 100, batch = 0, group = 32;
  uint64_t device_memory = 0;
  bool streams_linears = false;
};

// An engine that has run one block on random hidden states with a few loud channels.
struct BlockRun {
  BlockRun(const char* device, const Model& m, const Size& size, int64_t layer = 1, std::vector<size_t> keep = {})
      : config(m.config), rows(size.windows * size.window) {
    QuantEngineOptions o;
    o.windows = size.windows;
    o.window = size.window;
    o.batch = size.batch;
    o.grid = {4, size.group, true};
    o.scores_modules = !keep.empty();
    o.device_memory = size.device_memory;
    o.streams_linears = size.streams_linears;
    engine = open_device(device)->quant_engine(m.config, o);
    std::mt19937 rng(5);
    std::normal_distribution<float> normal;
    before.resize(rows * config.hidden);
    for (size_t i = 0; i < before.size(); ++i) before[i] = normal(rng) * (i % config.hidden % 37 == 5 ? 8.f : 0.5f);
    engine->set_hidden(0, {before.data(), rows, config.hidden});
    const Block b = m.block(layer);
    engine->load_block(layer, b.tensors);
    engine->forward_block({true, keep, {}});
  }
  std::vector<float> hidden() const {
    std::vector<float> h(before.size());
    engine->get_hidden(0, {h.data(), rows, config.hidden});
    return h;
  }
  std::vector<SearchedLinear> linears(size_t group) const {
    std::vector<SearchedLinear> list;
    for (const std::string_view name : config.arch->groups[group].linears)
      if (!name.empty()) list.push_back({std::string(name), {1, 7}});
    return list;
  }
  std::vector<std::vector<float>> candidates(size_t group) const {
    const InputSummary in = engine->input(group);
    std::vector<std::vector<float>> scales;
    for (const auto& c : quant::make_candidates(Search::kBoth, quant::mean_abs(in.abs_sum, in.tokens),
                                                engine->weight_mean(linears(group))))
      scales.push_back(c.scale);
    return scales;
  }
  const model::ModelConfig& config;
  int64_t rows;
  std::vector<float> before;
  std::unique_ptr<QuantEngine> engine;
};

double norm(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return std::sqrt(sum);
}

class QuantEngineOnGpu : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
    if (!fs::exists(GetParam()))
      GTEST_SKIP() << GetParam() << " is not there: the small models of each architecture lie beside the repository";
    model_ = std::make_unique<Model>(GetParam());
  }
  std::unique_ptr<Model> model_;
};
INSTANTIATE_TEST_SUITE_P(Models, QuantEngineOnGpu, testing::ValuesIn(models()), [](const auto& each) {
  std::string name = fs::path(each.param).filename();
  std::erase(name, '-');
  return name;
});

// What a block adds to the hidden states passes some ten roundings to float16 (2^-12 rms of each, relative), which the
// sums of products average: a few 2^-11.
TEST_P(QuantEngineOnGpu, HiddenStatesAreTheCpus) {
  for (const Size size : {Size{3, 100}, Size{2, 64}, Size{5, 33}, Size{1, 200}, Size{4, 8}}) {
    const BlockRun cpu("cpu", *model_, size), gpu("cuda", *model_, size);
    const std::vector<float> want = cpu.hidden(), got = gpu.hidden();
    EXPECT_LT(norm(got, want), 4e-3 * norm(want, cpu.before)) << size.windows << " x " << size.window;
    EXPECT_GT(norm(want, cpu.before), 0);
  }
}

TEST_P(QuantEngineOnGpu, InputSumsAreTheCpus) {
  const BlockRun cpu("cpu", *model_, {}), gpu("cuda", *model_, {});
  for (size_t g = 0; g < model_->config.arch->groups.size(); ++g) {
    const InputSummary want = cpu.engine->input(g), got = gpu.engine->input(g);
    ASSERT_EQ(got.tokens, want.tokens);
    ASSERT_EQ(got.abs_sum.size(), want.abs_sum.size());
    for (size_t c = 0; c < want.abs_sum.size(); ++c)
      EXPECT_NEAR(got.abs_sum[c], want.abs_sum[c], 2e-3 * want.abs_sum[c] + 1e-5) << g << " " << c;
  }
}

TEST_P(QuantEngineOnGpu, WeightSumsAreTheCpus) {
  const BlockRun cpu("cpu", *model_, {}), gpu("cuda", *model_, {});
  for (size_t g = 0; g < model_->config.arch->groups.size(); ++g) {
    const auto linears = cpu.linears(g);
    const auto want = cpu.engine->weight_mean(linears), got = gpu.engine->weight_mean(linears);
    ASSERT_EQ(got.size(), want.size());
    for (size_t c = 0; c < want.size(); ++c) EXPECT_NEAR(got[c], want[c], 1e-6);
    const auto squares = cpu.engine->column_squares(linears[0].name),
               got_squares = gpu.engine->column_squares(linears[0].name);
    for (size_t c = 0; c < squares.size(); ++c) EXPECT_NEAR(got_squares[c], squares[c], 1e-4 * squares[c]);
  }
}

// The statistics differ by what float16 activations do to so few tokens; between candidates that is common.
TEST_P(QuantEngineOnGpu, LossesAreTheCpus) {
  for (const int64_t group : {int64_t{32}, int64_t{64}, int64_t{0}}) {
    const BlockRun cpu("cpu", *model_, {.group = group}), gpu("cuda", *model_, {.group = group});
    for (size_t g = 0; g < model_->config.arch->groups.size(); ++g) {
      const auto linears = cpu.linears(g);
      const auto candidates = cpu.candidates(g);
      const auto want = cpu.engine->scale_losses(g, linears, candidates),
                 got = gpu.engine->scale_losses(g, linears, candidates);
      ASSERT_EQ(got.size(), want.size());
      double common = 0;
      for (size_t i = 0; i < want.size(); ++i) common += got[i] / want[i] / static_cast<double>(want.size());
      EXPECT_NEAR(common, 1, 3e-3) << "group " << g << " of " << group;
      for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i] / want[i] / common, 1, 1e-3) << g << " " << i;
    }
  }
}

TEST_P(QuantEngineOnGpu, ModuleLossesAreTheCpus) {
  const std::vector<size_t> groups = {0, 2};
  BlockRun cpu("cpu", *model_, {}, 1, groups), gpu("cuda", *model_, {}, 1, groups);
  for (const size_t g : groups) {
    const auto linears = cpu.linears(g);
    const auto candidates = cpu.candidates(g);
    const auto want = cpu.engine->module_losses(g, linears, candidates),
               got = gpu.engine->module_losses(g, linears, candidates);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-2 * want[i]) << g << " " << i;
  }
}

TEST_P(QuantEngineOnGpu, ClippingIsAsGoodAsTheCpus) {
  for (const int64_t group : {int64_t{32}, int64_t{64}, int64_t{0}}) {
    BlockRun cpu("cpu", *model_, {.group = group}), gpu("cuda", *model_, {.group = group});
    for (size_t g = 0; g < model_->config.arch->groups.size(); ++g) {
      const std::vector<float> scale = cpu.candidates(g)[8];
      for (const SearchedLinear& linear : cpu.linears(g)) {
        const double plain = cpu.engine->scale_losses(g, {&linear, 1}, {&scale, 1})[0];
        const double plain_on_gpu = gpu.engine->scale_losses(g, {&linear, 1}, {&scale, 1})[0];
        const double want = cpu.engine->clip(g, linear, scale, plain) / plain;
        const double got = gpu.engine->clip(g, linear, scale, plain_on_gpu) / plain_on_gpu;
        EXPECT_NEAR(got, want, 3e-3) << linear.name << " group " << group;
        EXPECT_LE(got, 1);
      }
    }
  }
}

// Scales in, codes out: the same arithmetic, so the same bits.
TEST_P(QuantEngineOnGpu, PackedAndFoldedBitsAreTheCpus) {
  for (const int64_t group : {int64_t{32}, int64_t{0}}) {
    BlockRun cpu("cpu", *model_, {.group = group}), gpu("cuda", *model_, {.group = group});
    const auto& groups = model_->config.arch->groups;
    for (size_t g = 0; g < groups.size(); ++g) {
      if (groups[g].only_if_square && model_->config.heads != model_->config.kv_heads) continue;
      const std::vector<float> scale = cpu.candidates(g)[11];
      cpu.engine->fold(g, scale);
      gpu.engine->fold(g, scale);
    }
    std::vector<std::string> packed;
    for (size_t g = 0; g < groups.size(); ++g)
      for (const SearchedLinear& linear : cpu.linears(g)) {
        const PackedLinear want = cpu.engine->pack(linear), got = gpu.engine->pack(linear);
        EXPECT_TRUE(got.packed == want.packed) << linear.name;
        EXPECT_EQ(got.salient.index, want.salient.index);
        EXPECT_EQ(got.salient.delta, want.salient.delta);
      }
    for (const BlockTensor& t : model_->block(1).tensors) {
      const FloatTensor want = cpu.engine->folded(t.name), got = gpu.engine->folded(t.name);
      EXPECT_EQ(got.shape, want.shape) << t.name;
      EXPECT_EQ(got.data, want.data) << t.name;
    }
  }
}

TEST_P(QuantEngineOnGpu, WindowsInFlightDoNotChangeABit) {
  Size size{.windows = 19, .window = 64, .batch = 1};
  BlockRun one("cuda", *model_, size);
  const std::vector<float> hidden = one.hidden();
  for (const int64_t batch : {2, 7, 8, 19, 0}) {
    size.batch = batch;
    BlockRun other("cuda", *model_, size);
    EXPECT_EQ(other.hidden(), hidden) << batch;
    for (size_t g = 0; g < model_->config.arch->groups.size(); ++g) {
      const auto linears = one.linears(g);
      const auto candidates = one.candidates(g);
      EXPECT_EQ(other.engine->input(g).abs_sum, one.engine->input(g).abs_sum) << batch;
      EXPECT_EQ(other.candidates(g), candidates) << batch;
      EXPECT_EQ(other.engine->scale_losses(g, linears, candidates), one.engine->scale_losses(g, linears, candidates))
          << batch;
    }
  }
}

// All that the search and the packing of a block read from the engine.
struct Findings {
  explicit Findings(BlockRun& run) {
    hidden = run.hidden();
    const auto& groups = run.config.arch->groups;
    for (size_t g = 0; g < groups.size(); ++g) {
      const auto linears = run.linears(g);
      const auto candidates = run.candidates(g);
      sums.push_back(run.engine->input(g).abs_sum);
      sums.push_back(run.engine->scale_losses(g, linears, candidates));
      if (linears.size() > 1) sums.push_back(run.engine->module_losses(g, linears, candidates));
      for (const SearchedLinear& linear : linears) {
        const auto squares = run.engine->column_squares(linear.name);
        sums.emplace_back(squares.begin(), squares.end());
        sums.push_back({run.engine->clip(g, linear, candidates[8], 1e30)});
      }
    }
    for (size_t g = 0; g < groups.size(); ++g) {
      if (groups[g].only_if_square && run.config.heads != run.config.kv_heads) continue;
      run.engine->fold(g, run.candidates(g)[8]);
    }
    for (size_t g = 0; g < groups.size(); ++g)
      for (const SearchedLinear& linear : run.linears(g)) packed.push_back(run.engine->pack(linear));
    for (const auto& [name, shape] : {std::pair("input_layernorm.weight", 1), std::pair("mlp.down_proj.weight", 2)})
      folded.push_back(run.engine->folded(name).data);
  }
  void expect_same(const Findings& other) const {
    EXPECT_EQ(hidden, other.hidden);
    EXPECT_EQ(sums, other.sums);
    EXPECT_EQ(folded, other.folded);
    ASSERT_EQ(packed.size(), other.packed.size());
    for (size_t i = 0; i < packed.size(); ++i) {
      EXPECT_TRUE(packed[i].packed == other.packed[i].packed) << i;
      EXPECT_EQ(packed[i].salient.delta, other.packed[i].salient.delta) << i;
    }
  }
  std::vector<float> hidden;
  std::vector<std::vector<double>> sums;
  std::vector<PackedLinear> packed;
  std::vector<std::vector<float>> folded;
};

TEST_P(QuantEngineOnGpu, OneLinearAtATimeGivesTheSameBits) {
  const std::vector<size_t> groups = {0, 2};
  BlockRun block("cuda", *model_, {}, 1, groups), linears("cuda", *model_, {.streams_linears = true}, 1, groups);
  Findings(linears).expect_same(Findings(block));
}

// Weights of float16 have no copy beside them, those of float32 and float64 have: each has its own way to the device.
TEST_P(QuantEngineOnGpu, OneLinearAtATimeReadsEveryType) {
  BlockRun block("cuda", *model_, {}), linears("cuda", *model_, {.streams_linears = true});
  Block b = model_->block(1);
  for (size_t i = 0; i < b.tensors.size(); ++i) {
    const std::vector<float> wide = block.engine->folded(b.tensors[i].name).data;
    const std::vector<double> wider(wide.begin(), wide.end());
    std::vector<f16_t> narrow;
    for (const float w : wide) narrow.push_back(f32_to_f16(w));
    const std::pair<Dtype, std::span<const std::byte>> kinds[] = {{Dtype::kF64, std::as_bytes(std::span(wider))},
                                                                  {Dtype::kF32, std::as_bytes(std::span(wide))},
                                                                  {Dtype::kF16, std::as_bytes(std::span(narrow))}};
    const auto& [type, bytes] = kinds[i % 3];
    b.memory[i].assign(bytes.begin(), bytes.end());
    b.tensors[i].dtype = type;
    b.tensors[i].bytes = b.memory[i];
  }
  for (BlockRun* run : {&block, &linears}) {
    run->engine->set_hidden(0, {run->before.data(), run->rows, model_->config.hidden});
    run->engine->load_block(1, b.tensors);
    run->engine->forward_block({.collect = true});
  }
  for (size_t g = 0; g < model_->config.arch->groups.size(); ++g) {
    const auto candidates = block.candidates(g);
    EXPECT_EQ(linears.candidates(g), candidates);
    EXPECT_EQ(linears.engine->scale_losses(g, linears.linears(g), candidates),
              block.engine->scale_losses(g, block.linears(g), candidates));
  }
  EXPECT_EQ(linears.hidden(), block.hidden());
}

TEST_P(QuantEngineOnGpu, UsedMemoryIsFilledAnew) {
  BlockRun run("cuda", *model_, {});
  const SearchedLinear linear{"mlp.down_proj", {1, 7}}, other{"self_attn.q_proj", {}};
  const PackedLinear want = run.engine->pack(linear);
  PackedLinear used = run.engine->pack(other);
  run.engine->pack(linear, used);
  EXPECT_TRUE(used.packed == want.packed);
  EXPECT_EQ(used.salient.index, want.salient.index);
  EXPECT_EQ(used.salient.delta, want.salient.delta);
}

// 64 windows in flight fit neither the smallest of these limits at once nor the others later, when the search asks for
// more: the engine goes on with fewer, and finds the same.
TEST_P(QuantEngineOnGpu, MemoryThatRunsOutHalvesTheWindowsInFlight) {
  const Size roomy{.windows = 64, .window = 256, .batch = 64};
  const std::vector<size_t> groups = {0, 2};
  BlockRun unlimited("cuda", *model_, roomy, 1, groups);
  const Findings want(unlimited);
  int went_on = 0, refused = 0;
  for (const uint64_t megabytes : {820, 740, 700, 660, 640, 620, 601}) {
    Size tight = roomy;
    tight.device_memory = megabytes << 20;
    try {
      BlockRun limited("cuda", *model_, tight, 1, groups);
      Findings(limited).expect_same(want);
      ++went_on;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNoRoom) << error.what();
      EXPECT_THAT(error.what(), testing::HasSubstr("of the GPU's memory"));
      ++refused;
    }
  }
  EXPECT_GT(went_on, 0);
  EXPECT_GT(refused, 0) << "1 MB beside the context cannot suffice";
}

TEST_P(QuantEngineOnGpu, TellsWhatCalibrationTook) {
  BlockRun run("cuda", *model_, {.windows = 40, .window = 256});
  std::map<std::string, double> seconds;
  double last = 0;
  run.engine->forward_block({.collect = true, .timed = [&](std::string_view stage, double begin, double end) {
                               EXPECT_EQ(begin, last);
                               EXPECT_GE(end, begin);
                               last = end;
                               seconds[std::string(stage)] += end - begin;
                             }});
  EXPECT_EQ(seconds.size(), 2u);
  EXPECT_GT(seconds["forward"], 0);
  EXPECT_GT(seconds["gram"], 0);
}

TEST_P(QuantEngineOnGpu, WeightsOfOtherTypesAreRead) {
  const BlockRun gpu("cuda", *model_, {});
  Block b = model_->block(1);
  for (size_t i = 0; i < b.tensors.size(); ++i) {
    const std::vector<float> wide = gpu.engine->folded(b.tensors[i].name).data;
    const bool doubles = i % 2 == 0;
    b.memory[i].resize(wide.size() * (doubles ? 8 : 4));
    const std::vector<double> wider(wide.begin(), wide.end());
    std::memcpy(b.memory[i].data(), doubles ? static_cast<const void*>(wider.data()) : wide.data(), b.memory[i].size());
    b.tensors[i].dtype = doubles ? Dtype::kF64 : Dtype::kF32;
    b.tensors[i].bytes = b.memory[i];
  }
  const std::vector<float> want = gpu.hidden();
  gpu.engine->set_hidden(0, {gpu.before.data(), gpu.rows, model_->config.hidden});
  gpu.engine->load_block(1, b.tensors);
  gpu.engine->forward_block({});
  EXPECT_EQ(gpu.hidden(), want);
}

TEST_P(QuantEngineOnGpu, DamagedWeightsAreNamed) {
  const BlockRun gpu("cuda", *model_, {});
  Block b = model_->block(1);
  const auto at = std::ranges::find(b.tensors, "mlp.up_proj.weight", &BlockTensor::name) - b.tensors.begin();
  const size_t each = dtype_bytes(b.tensors[at].dtype);
  for (const size_t element : {9, 70}) std::memset(b.memory[at].data() + element * each, 0xff, each);
  try {
    gpu.engine->load_block(1, b.tensors);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    EXPECT_THAT(error.what(), testing::HasSubstr("'model.layers.1.mlp.up_proj.weight' holds 2 values that are not "
                                                 "finite, the first at element 9"));
  }
}

// ---- the whole job --------------------------------------------------------------------------------------------------

}  // namespace
}  // namespace awq::backend
