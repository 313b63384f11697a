#include "awq/inspect.h"

#include <gmock/gmock.h>

#include "awq/error.h"
#include "format/small_checkpoint.h"

namespace awq {
namespace {

using format::SmallCheckpoint;
using format::TempFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ModuleInfo& module_of(const CheckpointInfo& info, std::string_view name) {
  for (const ModuleInfo& module : info.modules)
    if (module.name == name) return module;
  throw std::runtime_error("no module " + std::string(name));
}

std::string quantization(Layout layout) {
  QuantConfig quant;
  quant.version = layout;
  return format::quantization_config_json(quant);
}

class InspectLayout : public testing::TestWithParam<format::LayoutRow> {};
INSTANTIATE_TEST_SUITE_P(Rows, InspectLayout, testing::ValuesIn(format::layouts().begin(), format::layouts().end()),
                         [](const auto& row) { return format::test_name(row.param); });

TEST_P(InspectLayout, ShapesAndBitsOfEveryModule) {
  SmallCheckpoint small;
  small.store_as(GetParam());
  TempFolder folder;
  small.write(folder.path());
  const CheckpointInfo info = inspect(folder.path().string());
  EXPECT_EQ(info.layout, GetParam().name);
  EXPECT_EQ(info.group_size, 64);
  EXPECT_THAT(info.warnings, IsEmpty());
  for (const auto& [name, linear] : small.linears) {
    const ModuleInfo& module = module_of(info, name);
    EXPECT_TRUE(module.quantized);
    EXPECT_EQ(module.format, GetParam().name);
    EXPECT_THAT(module.shape, ElementsAre(linear.n, linear.k));
  }
  EXPECT_FALSE(module_of(info, "model.embed_tokens").quantized);
}

TEST(Inspect, MethodsThatAreNotReadAreAWarning) {
  TempFolder folder;
  SmallCheckpoint small;
  small.damage = [](const std::string&, std::vector<format::EncodedTensor>& tensors) {
    tensors = {format::zero_filled(format::described("weight", Dtype::kF16, {8, 8}))};
  };
  small.write(folder.path());
  io::write_file(folder / "config.json",
                 io::with_member(format::kSmallConfig, "quantization_config", R"({"quant_method":"fp8"})"));
  const CheckpointInfo info = inspect(folder.path().string());
  EXPECT_EQ(info.layout, "");
  EXPECT_THAT(info.warnings, ElementsAre(HasSubstr("is quantized with 'fp8'")));
}

TEST(Inspect, PackedModulesOfMethodsThatAreNotReadAreListed) {
  for (const char* quantization : {R"({"quant_method":"gptq","bits":4})", R"({"quant_method":"modelopt"})", ""}) {
    TempFolder folder;
    SmallCheckpoint small;
    small.write(folder.path());
    io::write_file(folder / "config.json", io::with_member(format::kSmallConfig, "quantization_config", quantization));
    const CheckpointInfo info = inspect(folder.path().string());
    EXPECT_EQ(info.layout, "");
    EXPECT_EQ(info.warnings.size(), *quantization ? 2u : 1u);
    EXPECT_THAT(info.warnings.back(), HasSubstr("packed in a way"));
    EXPECT_FALSE(module_of(info, "model.layers.0.mlp.up_proj").quantized);
  }
}

TEST(Inspect, TensorsOfAnotherMethodThanAnnounced) {
  TempFolder folder;
  SmallCheckpoint small;
  small.write(folder.path());
  io::write_file(folder / "config.json", io::with_member(format::kSmallConfig, "quantization_config",
                                                         quantization(Layout::kCompressedTensors)));
  try {
    inspect(folder.path().string());
    ADD_FAILURE() << "was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_THAT(e.what(), HasSubstr("cannot read layout 'compressed-tensors' with qweight of 2 dimensions"));
  }
}

}  // namespace
}  // namespace awq
