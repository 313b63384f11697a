#include <gmock/gmock.h>

#include <cstring>

#include "io/safetensors.h"
#include "scratch.h"

namespace awq::io {
namespace {

using test::content_of;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(SafetensorsWriterTest, WritesTheseBytes) {
  const test::ScratchFolder folder;
  SafetensorsWriter writer(folder / "w.safetensors",
                           {{"b", Dtype::kU8, {3}}, {"a\"", Dtype::kF16, {1, 2}}, {"s", Dtype::kI32, {}}});
  for (const char* data : {"bbb", "aa", "aassss"}) writer.write(std::as_bytes(std::span(data, std::strlen(data))));
  writer.commit();
  const std::string header = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
                             R"("a\"":{"dtype":"F16","shape":[1,2],"data_offsets":[3,7]},)"
                             R"("s":{"dtype":"I32","shape":[],"data_offsets":[7,11]}})";
  const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
  const std::string length{static_cast<char>(padded.size()), 0, 0, 0, 0, 0, 0, 0};
  ASSERT_LT(padded.size(), 256u);
  EXPECT_EQ(content_of(folder / "w.safetensors"), length + padded + "bbbaaaassss");
  EXPECT_EQ(SafetensorsFile(folder / "w.safetensors").find("a\"")->bytes(), 4u);
}

TEST(SafetensorsWriterTest, LeavesNothingBehindUnlessComplete) {
  const test::ScratchFolder folder;
  {
    SafetensorsWriter writer(folder / "w.safetensors", {{"a", Dtype::kU8, {3}}});
    writer.write(std::as_bytes(std::span("ab", 2)));
    EXPECT_THAT(test::refusal([&] { writer.commit(); }, ErrorKind::kFailure), HasSubstr("2 of its 3 bytes"));
    test::refusal([&] { writer.write(std::as_bytes(std::span("cd", 2))); }, ErrorKind::kFailure);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(PlanShardsTest, CutsInOrderWithoutSplitting) {
  const std::vector<TensorSpec> tensors = {{"a", Dtype::kU8, {6}},
                                           {"b", Dtype::kU8, {4}},
                                           {"c", Dtype::kU8, {1}},
                                           {"huge", Dtype::kU8, {50}},
                                           {"d", Dtype::kU8, {2}}};
  const auto shards = plan_shards(tensors, 10);
  ASSERT_EQ(shards.size(), 4u);
  EXPECT_EQ(shards[0].file, "model-00001-of-00004.safetensors");
  std::vector<std::string> layout;
  for (const Shard& shard : shards) {
    layout.emplace_back();
    for (const TensorSpec& t : shard.tensors) layout.back() += t.name;
  }
  EXPECT_THAT(layout, ElementsAre("ab", "c", "huge", "d"));
  EXPECT_EQ(plan_shards(tensors, 1000)[0].file, "model.safetensors");
}

TEST(PlanShardsTest, TheIndexIsWrittenAsHuggingFaceDoes) {
  const auto shards = plan_shards({{"z", Dtype::kF16, {2, 2}}, {"a", Dtype::kF32, {2}}}, 8);
  EXPECT_EQ(index_json(shards), R"({
  "metadata": {
    "total_size": 16
  },
  "weight_map": {
    "a": "model-00002-of-00002.safetensors",
    "z": "model-00001-of-00002.safetensors"
  }
}
)");
}

}  // namespace
}  // namespace awq::io
