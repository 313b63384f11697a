#include "inject_outliers.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "awq/error.h"
#include "format/small_checkpoint.h"
#include "io/checkpoint.h"

namespace awq::tools {
namespace {

namespace fs = std::filesystem;
using format::TempFolder;
using testing::HasSubstr;
using testing::SizeIs;

const fs::path kDemo = fs::path(AWQ_SOURCE_DIR) / "models/demo";  // BF16, hidden 256, 6 layers

InjectOptions into(const fs::path& out) {
  InjectOptions options;
  options.model = kDemo.string();
  options.out = out;
  return options;
}

std::string refused(const InjectOptions& options, ErrorKind kind) {
  try {
    inject_outliers(options);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    EXPECT_FALSE(fs::exists(options.out));
    return e.what();
  }
  ADD_FAILURE() << "was accepted";
  return "";
}

TEST(InjectOutliers, ChoosesItsShareOfEachNormAndRecordsIt) {
  TempFolder folder;
  const Channels channels = inject_outliers(into(folder / "out"));
  EXPECT_THAT(channels, SizeIs(12));  // two norms a layer
  std::set<std::vector<int64_t>> different;
  for (const auto& [norm, chosen] : channels) {
    EXPECT_THAT(chosen, SizeIs(3)) << norm;  // 1 % of 256, rounded
    EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
    EXPECT_TRUE(chosen.front() >= 0 && chosen.back() < 256);
    different.insert(chosen);
  }
  EXPECT_GT(different.size(), 10u);
  const auto record = nlohmann::json::parse(format::get_file(folder / "out/inject_outliers.json"));
  EXPECT_EQ(record["channels"].get<Channels>(), channels);
  EXPECT_EQ(record["factor"], 32);
  EXPECT_EQ(format::get_file(folder / "out/config.json"), format::get_file(kDemo / "config.json"));
  EXPECT_EQ(format::get_file(folder / "out/tokenizer.json"), format::get_file(kDemo / "tokenizer.json"));
}

// What a linear adds up is norm[c] * x[c] * w[n][c]; with the same norm[c] * w[n][c] in every place it adds up the
// same.
TEST(InjectOutliers, LeavesEveryProductAsItWas) {
  TempFolder folder;
  const Channels channels = inject_outliers(into(folder / "out"));
  const io::Checkpoint before(kDemo), after(folder / "out");
  const std::map<std::string, std::vector<std::string>> readers = {
      {"input_layernorm", {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}},
      {"post_attention_layernorm", {"mlp.gate_proj", "mlp.up_proj"}}};
  std::set<std::string> changed;
  for (int64_t layer = 0; layer < 6; ++layer)
    for (const auto& [norm, linears] : readers) {
      const std::string prefix = model::block_prefix(layer), norm_name = prefix + norm + ".weight";
      const auto old_norm = before.read_f32(norm_name), new_norm = after.read_f32(norm_name);
      const auto& chosen = channels.at(prefix + norm);
      for (size_t c = 0; c < old_norm.size(); ++c)
        ASSERT_EQ(new_norm[c], old_norm[c] * (std::binary_search(chosen.begin(), chosen.end(), c) ? 32 : 1));
      changed.insert(norm_name);
      for (const std::string& linear : linears) {
        const std::string name = prefix + linear + ".weight";
        const auto old_weight = before.read_f32(name), new_weight = after.read_f32(name);
        for (size_t i = 0; i < old_weight.size(); ++i)  // exact: two bf16 have 16 significant bits together
          ASSERT_EQ(old_norm[i % 256] * old_weight[i], new_norm[i % 256] * new_weight[i]) << name << " " << i;
        EXPECT_NE(old_weight, new_weight);
        changed.insert(name);
      }
    }
  for (const std::string& name : before.names()) {
    if (changed.contains(name)) continue;
    EXPECT_EQ(before.read_f32(name), after.read_f32(name)) << name;
  }
}

TEST(InjectOutliers, SeedDecides) {
  TempFolder folder;
  const Channels first = inject_outliers(into(folder / "a"));
  InjectOptions other = into(folder / "b");
  other.seed = 1;
  EXPECT_NE(inject_outliers(other), first);
  EXPECT_EQ(inject_outliers(into(folder / "c")), first);
  EXPECT_EQ(format::get_file(folder / "a/model.safetensors"), format::get_file(folder / "c/model.safetensors"));
}

TEST(InjectOutliers, RefusesWhatWouldChangeTheFunction) {
  TempFolder folder;
  InjectOptions options = into(folder / "out");
  for (const int factor : {0, 1, -2, 3, 33}) {
    options.factor = factor;
    EXPECT_THAT(refused(options, ErrorKind::kUsage), HasSubstr("power of two"));
  }
  options.factor = 32;
  for (const double fraction : {0.0, -1.0, 1.5, std::nan("")}) {
    options.fraction = fraction;
    EXPECT_THAT(refused(options, ErrorKind::kUsage), HasSubstr("fraction"));
  }
  options.fraction = 0.01;
  format::SmallCheckpoint().write(folder / "awq");
  options.model = (folder / "awq").string();
  EXPECT_THAT(refused(options, ErrorKind::kBadInput), HasSubstr("is quantized"));
}

// fp16 weights below 2^-14 lose bits when divided: refused by name rather than done nearly.
TEST(InjectOutliers, RefusesAWeightThatCannotBeScaledExactly) {
  TempFolder folder;
  const model::ModelConfig config = model::parse_config(format::kSmallConfig, "config.json");
  std::vector<io::TensorSpec> specs;
  for (const auto& needs :
       {model::outer_tensors(config), model::block_tensors(config, 0), model::block_tensors(config, 1)})
    for (const model::TensorNeed& need : needs)
      specs.push_back({.name = need.name, .dtype = Dtype::kF16, .shape = need.shape});
  fs::create_directory(folder / "in");
  io::SafetensorsWriter writer(folder / "in/model.safetensors", specs);
  for (const io::TensorSpec& spec : specs) {
    const std::vector<f16_t> odd_subnormals(spec.bytes() / 2, 0x0001);
    writer.write(std::as_bytes(std::span(odd_subnormals)));
  }
  writer.commit();
  io::write_file(folder / "in/config.json", format::kSmallConfig);
  InjectOptions options = into(folder / "out");
  options.model = (folder / "in").string();
  EXPECT_THAT(refused(options, ErrorKind::kBadInput), HasSubstr("is not exact in F16"));
}

}  // namespace
}  // namespace awq::tools
