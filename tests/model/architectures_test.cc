#include "model/architectures.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/dtype.h"
#include "io/checkpoint.h"
#include "model/config_text.h"
#include "scratch.h"

namespace awq::model {
namespace {

namespace fs = std::filesystem;
using test::config_text;
using test::parsed;
using test::refusal;
using test::with;
using testing::AllOf;
using testing::HasSubstr;

class EveryArchitecture : public testing::TestWithParam<Architecture> {
 protected:
  ModelConfig config() const { return parsed(config_text(GetParam().hf_name)); }
};
INSTANTIATE_TEST_SUITE_P(Rows, EveryArchitecture, testing::ValuesIn(architectures().begin(), architectures().end()),
                         [](const auto& row) { return std::string(row.param.hf_name); });

TEST_P(EveryArchitecture, IsFoundByBothNames) {
  EXPECT_EQ(find_architecture(GetParam().hf_name)->model_type, GetParam().model_type);
  EXPECT_EQ(find_model_type(GetParam().model_type)->hf_name, GetParam().hf_name);
  EXPECT_THAT(supported_architectures(), HasSubstr(std::string(GetParam().hf_name)));
}

TEST_P(EveryArchitecture, GroupsCoverEachLinearExactlyOnce) {
  std::map<std::string, int> covered;
  for (const LinearShape& l : block_linears(config())) covered[l.name] = 0;
  for (const LayerGroup& g : GetParam().groups)
    for (const std::string_view linear : g.linears)
      if (!linear.empty()) ++covered[std::string(linear)];
  for (const auto& [name, times] : covered) EXPECT_EQ(times, 1) << name;
  EXPECT_EQ(covered.size(), block_linears(config()).size()) << "a group names a linear that no block has";
}

TEST_P(EveryArchitecture, AGroupReadsOneInputAndWhatItAbsorbsProducesIt) {
  const ModelConfig c = config();
  std::map<std::string, LinearShape, std::less<>> linears;
  for (const LinearShape& l : block_linears(c)) linears[l.name] = l;
  for (const LayerGroup& g : GetParam().groups) {
    const int64_t k = linears.find(g.linears[0])->second.k;
    for (const std::string_view name : g.linears) EXPECT_EQ(name.empty() ? k : linears.find(name)->second.k, k) << name;
    const auto absorber = linears.find(g.absorbs);
    const int64_t width =
        absorber == linears.end() ? c.hidden : absorber->second.n;  // a norm is as wide as the residual stream
    EXPECT_TRUE(g.only_if_square || width == k) << g.absorbs;
  }
}

TEST_P(EveryArchitecture, LinearsAreTheMatricesOfTheBlock) {
  const ModelConfig c = config();
  const auto needs = block_tensors(c, 7);
  std::set<std::string> names;
  for (const TensorNeed& need : needs) {
    EXPECT_EQ(need.name.substr(0, 15), "model.layers.7.");
    EXPECT_TRUE(names.insert(need.name).second) << need.name;
    EXPECT_EQ(need.linear, need.shape.size() == 2) << need.name;
  }
  EXPECT_EQ(std::count_if(needs.begin(), needs.end(), [](const TensorNeed& n) { return n.linear; }),
            static_cast<std::ptrdiff_t>(block_linears(c).size()));
  const bool has_norm = names.contains("model.layers.7.self_attn.q_norm.weight");
  EXPECT_EQ(has_norm, GetParam().qk_norm);
}

TEST(ArchitecturesTest, ShapesFollowTheConfig) {
  const ModelConfig c = parsed(io::with_member(with("attention_bias", "true"), "mlp_bias", "true"));
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorNeed& need : block_tensors(c, 0)) shapes[need.name.substr(15)] = need.shape;
  EXPECT_EQ(shapes["self_attn.q_proj.weight"], (std::vector<int64_t>{64, 64}));
  EXPECT_EQ(shapes["self_attn.v_proj.weight"], (std::vector<int64_t>{16, 64}));
  EXPECT_EQ(shapes["self_attn.v_proj.bias"], (std::vector<int64_t>{16}));
  EXPECT_EQ(shapes["self_attn.o_proj.bias"], (std::vector<int64_t>{64}));
  EXPECT_EQ(shapes["mlp.down_proj.weight"], (std::vector<int64_t>{64, 128}));
  EXPECT_EQ(shapes["mlp.gate_proj.bias"], (std::vector<int64_t>{128}));
  EXPECT_EQ(shapes.size(), 16u);
}

// CF3, CF7. A checkpoint that holds just what its config.json implies, with one thing changed.
class CheckTensorsTest : public testing::Test {
 protected:
  void write(const std::string& config, const std::string& skip = "", const std::string& reshape = "") {
    folder_.put("config.json", config);
    std::vector<io::TensorSpec> specs;
    const ModelConfig c = parsed(config);
    auto needs = outer_tensors(c);
    for (int64_t layer = 0; layer < c.layers; ++layer)
      for (const TensorNeed& need : block_tensors(c, layer)) needs.push_back(need);
    for (TensorNeed& need : needs) {
      if (need.name == reshape) need.shape[0] += 1;
      if (need.name != skip) specs.push_back({need.name, Dtype::kF16, need.shape});
    }
    for (const auto& extra : extra_) specs.push_back(extra);
    io::SafetensorsWriter writer(folder_ / "model.safetensors", specs);
    for (const io::TensorSpec& spec : specs) writer.write(std::vector<std::byte>(spec.bytes()));
    writer.commit();
  }
  void check() {
    const io::Checkpoint checkpoint(folder_.path());
    check_tensors(checkpoint, parsed(checkpoint.config_text()));
  }
  std::string why() {
    return refusal([&] { check(); });
  }
  test::ScratchFolder folder_;
  std::vector<io::TensorSpec> extra_;
};

TEST_F(CheckTensorsTest, TakesWhatFits) {
  write(config_text());
  check();
  write(with("tie_word_embeddings", "true"));
  check();
  extra_ = {{"lm_head.weight", Dtype::kF16, {100, 64}}};  // stored although tied: fine
  write(with("tie_word_embeddings", "true"));
  check();
}

TEST_F(CheckTensorsTest, NamesBothShapes) {
  write(config_text(), "", "model.layers.2.mlp.up_proj.weight");
  EXPECT_THAT(
      why(),
      HasSubstr("tensor model.layers.2.mlp.up_proj.weight has shape [129, 64] but config.json implies [128, 64]"));
}

TEST_F(CheckTensorsTest, NamesWhatIsMissing) {
  write(config_text(), "lm_head.weight");
  EXPECT_THAT(why(), HasSubstr("lacks 1 of the tensors that its config.json implies: lm_head.weight"));
  write(config_text());
  folder_.put("config.json", with("num_hidden_layers", "5"));
  EXPECT_THAT(why(), AllOf(HasSubstr("lacks 18 of the tensors"), HasSubstr("model.layers.3.self_attn.q_proj.weight"),
                           HasSubstr("...")));
}

TEST_F(CheckTensorsTest, PackedLinearsAreLeftToTheirFormat) {
  extra_ = {{"model.layers.1.mlp.up_proj.qweight", Dtype::kI32, {64, 16}}};
  write(config_text(), "model.layers.1.mlp.up_proj.weight");
  check();
}

}  // namespace
}  // namespace awq::model
