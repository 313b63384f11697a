// Real folders, one an architecture, written by transformers.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>

#include "io/checkpoint.h"
#include "model/architectures.h"

namespace awq::model {
namespace {

namespace fs = std::filesystem;

struct Folder {
  const char *name, *architecture;
  RopeType rope;
  int64_t window;
  bool tied;
};

class GoldenFolder : public testing::TestWithParam<Folder> {};
INSTANTIATE_TEST_SUITE_P(Arch, GoldenFolder,
                         testing::Values(Folder{"llama", "LlamaForCausalLM", RopeType::kDefault, 0, false},
                                         Folder{"llama3-rope", "LlamaForCausalLM", RopeType::kLlama3, 0, true},
                                         Folder{"mistral", "MistralForCausalLM", RopeType::kDefault, 24, false},
                                         Folder{"qwen2", "Qwen2ForCausalLM", RopeType::kDefault, 0, true},
                                         Folder{"qwen3", "Qwen3ForCausalLM", RopeType::kDefault, 0, false}),
                         [](const auto& row) {
                           std::string name = row.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(GoldenFolder, ParsesAndHoldsEveryTensorWithItsShape) {
  const fs::path folder = fs::path(AWQ_SOURCE_DIR "/../shared/models/arch") / GetParam().name;
  if (!fs::exists(folder)) GTEST_SKIP() << "the golden folder " << folder << " is not on this machine";
  const io::Checkpoint checkpoint(folder);
  const ModelConfig c = parse_config(checkpoint.config_text(), "config.json");
  EXPECT_EQ(c.arch->hf_name, GetParam().architecture);
  EXPECT_EQ(c.rope.type, GetParam().rope);
  EXPECT_EQ(c.sliding_window, GetParam().window);
  EXPECT_EQ(c.tied_embeddings, GetParam().tied);
  check_tensors(checkpoint, c);
  size_t needed = outer_tensors(c).size();
  for (int64_t layer = 0; layer < c.layers; ++layer) needed += block_tensors(c, layer).size();
  EXPECT_EQ(needed, checkpoint.names().size()) << "a tensor of the file is never read";
}

TEST(DemoModelTest, ParsesAndHoldsEveryTensorWithItsShape) {
  const io::Checkpoint checkpoint(AWQ_SOURCE_DIR "/models/demo");
  const ModelConfig c = parse_config(checkpoint.config_text(), "config.json");
  EXPECT_EQ(c.layers, 6);
  EXPECT_EQ(c.kv_heads, 2);
  EXPECT_THAT(checkpoint.warnings(), testing::IsEmpty());
  check_tensors(checkpoint, c);
}

}  // namespace
}  // namespace awq::model
