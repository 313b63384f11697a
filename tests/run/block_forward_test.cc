#include "backend/cpu/block_forward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "awq/error.h"
#include "reference_block.h"

namespace awq::test {
namespace {

using namespace backend::cpu;
using backend::FloatBlock;

constexpr model::LayerGroup kGroups[] = {
    {"input_layernorm", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, "self_attn"},
    {"self_attn.v_proj", {"self_attn.o_proj"}, "self_attn.o_proj"},
    {"post_attention_layernorm", {"mlp.gate_proj", "mlp.up_proj"}, "mlp"},
    {"mlp.up_proj", {"mlp.down_proj"}, "mlp.down_proj"},
};
constexpr model::Architecture kPlain{.hf_name = "Plain", .model_type = "plain", .groups = kGroups};
constexpr model::Architecture kHeadNorms{.hf_name = "Norms", .model_type = "norms", .groups = kGroups, .qk_norm = true};

struct Case {
  const char* name;
  model::ModelConfig config;
  int64_t window = 0, windows = 0;
};

model::ModelConfig small(const model::Architecture& arch, int64_t heads, int64_t kv_heads, int64_t head_dim) {
  model::ModelConfig c;
  c.arch = &arch;
  c.hidden = 48, c.intermediate = 88, c.layers = 1, c.vocab = 16;
  c.heads = heads, c.kv_heads = kv_heads, c.head_dim = head_dim;
  c.norm_eps = 1e-5, c.layer_slides = {false};
  return c;
}

std::vector<Case> cases() {
  std::vector<Case> all = {{"grouped queries, ragged head", small(kPlain, 6, 2, 10), 70, 3},
                           {"one head", small(kPlain, 1, 1, 48), 1, 5},
                           {"one kv head, long window", small(kPlain, 4, 1, 16), 131, 2},
                           {"head norms", small(kHeadNorms, 4, 2, 16), 33, 2},
                           {"biases", small(kPlain, 4, 4, 12), 21, 2},
                           {"sliding window", small(kPlain, 4, 2, 12), 90, 2},
                           {"linear rope", small(kPlain, 2, 2, 32), 40, 2},
                           {"llama3 rope", small(kPlain, 2, 2, 32), 100, 1}};
  for (Case& c : all) {
    c.config.attention_bias = c.config.output_bias = c.config.mlp_bias = std::string(c.name) == "biases";
    if (std::string(c.name) == "sliding window") c.config.sliding_window = 19, c.config.layer_slides = {true};
    if (std::string(c.name) == "linear rope") c.config.rope = {model::RopeType::kLinear, 10000, 4};
    if (std::string(c.name) == "llama3 rope") c.config.rope = {model::RopeType::kLlama3, 500, 8, 1, 4, 32};
  }
  return all;
}

struct Pass {
  std::vector<float> hidden;
  std::vector<std::vector<float>> inputs = std::vector<std::vector<float>>(4);
};

Pass pass(const Case& c, const FloatBlock& block, std::vector<float> hidden, int threads) {
  ThreadPool pool(threads);
  Pass r{std::move(hidden)};
  forward_float_block(pool, c.config, block, {r.hidden.data(), c.window * c.windows, c.config.hidden}, c.window,
                      [&](size_t g, MatrixView<const float> x) {
                        for (int64_t i = 0; i < x.rows; ++i)
                          r.inputs[g].insert(r.inputs[g].end(), x.row(i), x.row(i) + x.cols);
                      });
  return r;
}

// Each result is a chain of about 12 roundings-in-sequence stages (norms, products over at most 131 terms, softmax,
// sums), none of which amplifies by more than a few; gamma of the longest sum times the stages, on values near 1.
constexpr double kBound = 12 * 131 * 0x1p-24;

void expect_near(const std::vector<float>& got, const Rows& want, const char* what) {
  ASSERT_EQ(got.size(), want.size() * want[0].size()) << what;
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double w = want[i / want[0].size()][i % want[0].size()];
    worst = std::max(worst, std::abs(got[i] - w) / std::max(1.0, std::abs(w)));
  }
  EXPECT_LT(worst, kBound) << what;
}

class BlockForward : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const Case& c = GetParam();
    block_ = random_block(c.config, rng_);
    hidden_ = random_tensor(rng_, "", {c.window * c.windows, c.config.hidden}, 0, 1).data;
  }
  std::mt19937 rng_{7};
  FloatBlock block_;
  std::vector<float> hidden_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, BlockForward, testing::ValuesIn(cases()), [](const auto& each) {
  std::string name = each.param.name;
  std::replace_if(
      name.begin(), name.end(), [](char ch) { return std::isalnum(ch) == 0; }, '_');
  return name;
});

TEST_P(BlockForward, EqualsTheDefinitionInFloat64) {
  const Case& c = GetParam();
  Rows want;
  std::vector<Rows> inputs(4);
  for (int64_t w = 0; w < c.windows; ++w) {
    Rows rows;
    for (int64_t t = w * c.window; t < (w + 1) * c.window; ++t)
      rows.emplace_back(hidden_.begin() + t * c.config.hidden, hidden_.begin() + (t + 1) * c.config.hidden);
    reference_window(c.config, block_, rows, &inputs);
    want.insert(want.end(), rows.begin(), rows.end());
  }
  const Pass got = pass(c, block_, hidden_, 2);
  expect_near(got.hidden, want, "output");
  for (size_t g = 0; g < 4; ++g) expect_near(got.inputs[g], inputs[g], kGroups[g].linears[0].data());
}

TEST_P(BlockForward, DoesNotDependOnThreads) {
  const Pass one = pass(GetParam(), block_, hidden_, 1), three = pass(GetParam(), block_, hidden_, 3);
  EXPECT_EQ(one.hidden, three.hidden);
  EXPECT_EQ(one.inputs, three.inputs);
}

TEST_P(BlockForward,
       EveryTensorMatters) {  // tests the first test: a change of one value in any tensor leaves its bound
  const Case& c = GetParam();
  const Pass before = pass(c, block_, hidden_, 1);
  for (backend::FloatTensor& t : block_.tensors) {
    const bool scores_only = t.name.find("q_proj") != std::string::npos || t.name.find("k_proj") != std::string::npos;
    if (c.window == 1 && scores_only) continue;  // one key: its weight is 1 whatever its score
    const float old = t.data[0];
    t.data[0] += 1;
    const Pass after = pass(c, block_, hidden_, 1);
    double moved = 0;
    for (size_t i = 0; i < before.hidden.size(); ++i)
      moved = std::max<double>(moved, std::abs(after.hidden[i] - before.hidden[i]));
    EXPECT_GT(moved, kBound) << t.name;
    t.data[0] = old;
  }
}

TEST_P(BlockForward, ModulesEqualTheirPartOfTheBlock) {
  const Case& c = GetParam();
  const int64_t rows = c.window * c.windows;
  const Pass whole = pass(c, block_, hidden_, 2);
  ThreadPool pool(2);
  std::vector<float> attended(rows * c.config.hidden), mlp(attended.size());
  float_attention(pool, c.config, block_, {whole.inputs[0].data(), rows, c.config.hidden}, c.window,
                  {attended.data(), rows, c.config.hidden});
  float_mlp(pool, c.config, block_, {whole.inputs[2].data(), rows, c.config.hidden},
            {mlp.data(), rows, c.config.hidden});
  for (size_t i = 0; i < mlp.size(); ++i) EXPECT_EQ(hidden_[i] + attended[i] + mlp[i], whole.hidden[i]);
}

TEST(BlockForwardErrors, MissingTensorIsNamed) {
  std::mt19937 rng(1);
  const Case c{"", small(kPlain, 2, 2, 8), 4, 1};
  FloatBlock block = random_block(c.config, rng, 3);
  std::erase_if(block.tensors, [](const auto& t) { return t.name == "mlp.up_proj.weight"; });
  try {
    pass(c, block, std::vector<float>(4 * c.config.hidden), 1);
    FAIL() << "accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_STREQ(e.what(), "block 3 has no tensor 'mlp.up_proj.weight'");
  }
}

}  // namespace
}  // namespace awq::test
