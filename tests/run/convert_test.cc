#include "awq/convert.h"

#include <gmock/gmock.h>

#include <set>

#include "awq/error.h"
#include "format/awq_checkpoint.h"
#include "format/salient.h"
#include "format/small_checkpoint.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using format::SmallCheckpoint;
using format::TempFolder;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename()] = format::get_file(entry.path());
  return files;
}

ConvertOptions to(Layout layout, const fs::path& from, const fs::path& out) {
  ConvertOptions options;
  options.model = from.string();
  options.out = out;
  options.to = layout;
  return options;
}

class Convert : public testing::Test {
 protected:
  fs::path write(const SmallCheckpoint& small) {
    small.write(folder_ / "in");
    io::write_file(folder_ / "in/tokenizer.json", "{\"a\": 1}");
    io::write_file(folder_ / "in/generation_config.json", "{}");
    return folder_ / "in";
  }
  std::string refused(const ConvertOptions& options, ErrorKind kind) {
    std::string message;
    try {
      convert(options);
      ADD_FAILURE() << "was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind) << e.what();
      message = e.what();
    }
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      EXPECT_EQ(entry.path().filename(), "in") << "something is left behind";
    return message;
  }

  TempFolder folder_;
};

TEST_F(Convert, RoundTripOfEveryLayoutIsByteIdentical) {
  const std::vector<Layout> kCycle = {Layout::kGemm, Layout::kGemv, Layout::kGemvFast, Layout::kCompressedTensors};
  for (const uint64_t shard : {uint64_t{1} << 30, uint64_t{60'000}})
    for (size_t start = 0; start < kCycle.size(); ++start) {
      TempFolder folder;
      SmallCheckpoint small;
      small.quant.version = kCycle[start];
      small.max_shard_bytes = shard;
      small.write(folder / "0");
      io::write_file(folder / "0/tokenizer.json", "{}");
      io::write_file(folder / "0" / format::kSalientFile, "copied, whatever it holds");
      for (size_t i = 0; i < kCycle.size(); ++i) {
        ConvertOptions options =
            to(kCycle[(start + i + 1) % kCycle.size()], folder / std::to_string(i), folder / std::to_string(i + 1));
        options.max_shard_bytes = shard;
        EXPECT_EQ(convert(options).linears, 14);
      }
      EXPECT_NE(contents(folder / "0"), contents(folder / "1"));
      EXPECT_TRUE(contents(folder / "0") == contents(folder / "4")) << "from " << format::layout(kCycle[start]).name;
    }
}

TEST_F(Convert, KeepsWeightsOtherTensorsAndFiles) {
  SmallCheckpoint small;
  const fs::path in = write(small);
  const io::Checkpoint before(in);
  for (const Layout layout : {Layout::kGemv, Layout::kGemvFast, Layout::kCompressedTensors}) {
    const fs::path out = folder_ / format::layout(layout).name;
    const ConvertReport report = convert(to(layout, in, out));
    EXPECT_EQ(report.from, Layout::kGemm);
    EXPECT_EQ(report.bytes_in, before.total_bytes());
    const io::Checkpoint after(out);
    EXPECT_EQ(report.bytes_out, after.total_bytes());
    EXPECT_THAT(after.warnings(), IsEmpty());
    const auto config = model::parse_config(after.config_text(), "config.json");
    EXPECT_EQ(config.quant.version, layout);
    for (const auto& [module, linear] : small.linears)
      EXPECT_TRUE(format::read_linear(after, config, module, linear.n, linear.k) == linear) << module;
    EXPECT_EQ(before.read_f32("model.embed_tokens.weight"), after.read_f32("model.embed_tokens.weight"));
    EXPECT_EQ(format::get_file(out / "tokenizer.json"), "{\"a\": 1}");
    EXPECT_THAT(format::get_file(out / "config.json"), HasSubstr("\"rope_theta\": 1.0e4"));  // edited, not made anew
  }
}

TEST_F(Convert, ReportsProgressUpToTheTotal) {
  const fs::path in = write({});
  ConvertOptions options = to(Layout::kGemv, in, folder_ / "out");
  uint64_t last = 0, total = 0;
  std::set<std::string> seen;
  options.progress = [&](const ConvertProgress& p) {
    EXPECT_GE(p.bytes_done, last);
    last = p.bytes_done;
    total = p.bytes_total;
    seen.insert(p.tensor);
  };
  EXPECT_EQ(convert(options).bytes_out, total);
  EXPECT_LT(last, total);
  EXPECT_EQ(seen.size(), io::Checkpoint(folder_ / "out").names().size());
}

TEST_F(Convert, RefusesWhatIsNothingToConvert) {
  const fs::path in = write({});
  EXPECT_THAT(refused(to(Layout::kGemm, in, folder_ / "out"), ErrorKind::kUsage), HasSubstr("already"));
  io::write_file(in / "config.json", format::kSmallConfig);
  EXPECT_THAT(refused(to(Layout::kGemv, in, folder_ / "out"), ErrorKind::kBadInput), HasSubstr("not quantized"));
}

TEST_F(Convert, RefusesOutputInsideTheInputOrExisting) {
  const fs::path in = write({});
  EXPECT_THAT(refused(to(Layout::kGemv, in, in), ErrorKind::kUsage), HasSubstr("input folder"));
  EXPECT_THAT(refused(to(Layout::kGemv, in, in / "sub"), ErrorKind::kUsage), HasSubstr("input folder"));
  convert(to(Layout::kGemv, in, folder_ / "out"));
  EXPECT_THROW(convert(to(Layout::kGemvFast, in, folder_ / "out")), Error);
  ConvertOptions forced = to(Layout::kGemvFast, in, folder_ / "out");
  forced.force = true;
  convert(forced);
  EXPECT_THAT(format::get_file(folder_ / "out/config.json"), HasSubstr("gemv_fast"));
}

TEST_F(Convert, NamesTheModuleThatIsDamagedAndLeavesNothing) {
  SmallCheckpoint small;
  small.damage = [](const std::string& module, std::vector<format::EncodedTensor>& tensors) {
    if (module == "model.layers.1.mlp.up_proj") format::store<f16_t>(tensors[2], 3, 0x7e00);
  };
  EXPECT_THAT(refused(to(Layout::kGemv, write(small), folder_ / "out"), ErrorKind::kBadInput),
              AllOf(HasSubstr("model.layers.1.mlp.up_proj"), HasSubstr("nan")));
}

TEST_F(Convert, RefusesBeforeWritingWhatTheLayoutCannotHold) {
  SmallCheckpoint small;
  small.quant.group_size = 16;
  unsigned seed = 1;
  for (auto& [module, linear] : small.linears) linear = format::random_linear(linear.n, linear.k, 16, false, seed++);
  EXPECT_THAT(refused(to(Layout::kGemv, write(small), folder_ / "out"), ErrorKind::kBadInput),
              AllOf(HasSubstr("'model.layers.0.mlp.down_proj' cannot be written as gemv"), HasSubstr("group = 16")));
}

TEST_F(Convert, RefusesAPackedTensorItHasNoSizeFor) {
  SmallCheckpoint small;
  small.linears["lm_head"] = format::random_linear(32, 128, 64, false, 9);
  EXPECT_THAT(refused(to(Layout::kGemv, write(small), folder_ / "out"), ErrorKind::kBadInput),
              HasSubstr("'lm_head' is packed"));
}

TEST_F(Convert, ModulesLeftInFloatAreCopied) {
  SmallCheckpoint small;
  constexpr const char* kModule = "model.layers.0.self_attn.k_proj";
  small.damage = [](const std::string& module, std::vector<format::EncodedTensor>& tensors) {
    if (module != kModule) return;
    tensors = {format::zero_filled(format::described("weight", Dtype::kF16, {64, 128}))};
  };
  EXPECT_EQ(convert(to(Layout::kGemv, write(small), folder_ / "out")).linears, 13);
  EXPECT_TRUE(io::Checkpoint(folder_ / "out").has(std::string(kModule) + ".weight"));
}

TEST_F(Convert, SymmetricWeightsGoToEveryLayoutAndBack) {
  SmallCheckpoint small;
  small.store_as(format::layout(Layout::kCompressedTensorsSym));
  const fs::path in = write(small);
  for (const Layout layout :
       {Layout::kGemm, Layout::kGemv, Layout::kGemvFast, Layout::kCompressedTensors, Layout::kModelopt}) {
    const fs::path there = folder_ / format::layout(layout).name, back = there.string() + "-back";
    EXPECT_EQ(convert(to(layout, in, there)).from, Layout::kCompressedTensorsSym);
    convert(to(Layout::kCompressedTensorsSym, there, back));
    EXPECT_TRUE(contents(in) == contents(back)) << format::layout(layout).name;
  }
}

TEST_F(Convert, TheFileBesideConfigComesAndGoesWithItsLayout) {
  SmallCheckpoint small;
  small.store_as(format::layout(Layout::kModelopt));
  const fs::path in = write(small), out = folder_ / "out", back = folder_ / "back";
  ASSERT_TRUE(fs::exists(in / "hf_quant_config.json"));
  EXPECT_TRUE(io::Checkpoint(in).has("model.layers.1.mlp.down_proj.pre_quant_scale"));
  convert(to(Layout::kGemm, in, out));
  EXPECT_FALSE(fs::exists(out / "hf_quant_config.json"));
  EXPECT_FALSE(io::Checkpoint(out).has("model.layers.1.mlp.down_proj.pre_quant_scale"));
  convert(to(Layout::kModelopt, out, back));
  EXPECT_TRUE(contents(in) == contents(back));
}

TEST_F(Convert, GroupsOfAWholeRowDoNotFitEveryConfig) {
  SmallCheckpoint small;
  small.quant.group_size = -1;
  unsigned seed = 1;
  for (auto& [module, linear] : small.linears) {
    linear = format::random_linear(linear.n, linear.k, static_cast<int>(linear.k), !linear.bias.empty(), seed++);
    linear.zeros.assign(linear.zeros.size(), 8);
  }
  const fs::path in = write(small);
  EXPECT_THAT(refused(to(Layout::kModelopt, in, folder_ / "out"), ErrorKind::kBadInput),
              HasSubstr("modelopt cannot say that a group is a whole row"));
  convert(to(Layout::kCompressedTensors, in, folder_ / "out"));
  EXPECT_THAT(format::get_file(folder_ / "out/config.json"), HasSubstr("\"strategy\": \"channel\""));
}

TEST_F(Convert, ZeroPointsDoNotFitASymmetricLayout) {
  EXPECT_THAT(refused(to(Layout::kCompressedTensorsSym, write({}), folder_ / "out"), ErrorKind::kBadInput),
              AllOf(HasSubstr("zero point of"), HasSubstr("--sym"), HasSubstr("repacking 'model.layers.0")));
}

// AWQ loaders find float linears by their tensors; compressed-tensors wants them listed.
TEST_F(Convert, FloatModulesAreListedForLoadersThatWantIt) {
  SmallCheckpoint small;
  constexpr const char* kModule = "model.layers.0.self_attn.k_proj";
  small.damage = [](const std::string& module, std::vector<format::EncodedTensor>& tensors) {
    if (module == kModule) tensors = {format::zero_filled(format::described("weight", Dtype::kF16, {64, 128}))};
  };
  const fs::path in = write(small), there = folder_ / "there", back = folder_ / "back";
  convert(to(Layout::kCompressedTensors, in, there));
  EXPECT_THAT(format::get_file(there / "config.json"),
              HasSubstr("re:.*model\\\\.layers\\\\.0\\\\.self_attn\\\\.k_proj.*"));
  convert(to(Layout::kGemm, there, back));
  EXPECT_THAT(format::get_file(back / "config.json"), HasSubstr(std::string("\"") + kModule + "\""));
}

TEST_F(Convert, StopLeavesNothing) {
  const std::atomic<int> stop{2};
  ConvertOptions options = to(Layout::kGemv, write({}), folder_ / "out");
  options.stop = &stop;
  EXPECT_THAT(refused(options, ErrorKind::kInterrupted), HasSubstr("stopped"));
}

}  // namespace
}  // namespace awq
