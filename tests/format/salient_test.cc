#include "format/salient.h"

#include <gmock/gmock.h>

#include "awq/error.h"
#include "small_checkpoint.h"

namespace awq::format {
namespace {

using testing::HasSubstr;

constexpr int64_t kN = 6, kK = 40;

struct SideFile {
  std::vector<int32_t> index = {0, 7, 39};
  std::vector<f16_t> delta = std::vector<f16_t>(3 * kN, f32_to_f16(0.25f));
  std::vector<io::TensorSpec> specs = salient_specs("m", 3, kN);

  void write(const std::filesystem::path& path) const {
    io::SafetensorsWriter writer(path, specs);
    for (const io::TensorSpec& spec : specs) {
      const auto bytes =
          spec.name == "m.salient_index" ? std::as_bytes(std::span(index)) : std::as_bytes(std::span(delta));
      writer.write(bytes.first(spec.bytes()));
    }
    writer.commit();
  }

  std::string refusal() const {
    TempFolder folder;
    write(folder / kSalientFile);
    try {
      read_salient(io::SafetensorsFile(folder / kSalientFile), "m", kN, kK);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
      EXPECT_THAT(e.what(), HasSubstr(kSalientFile));
      return e.what();
    }
    ADD_FAILURE() << "was accepted";
    return "";
  }
};

TEST(Salient, ReadsWhatWasWritten) {
  TempFolder folder;
  const SideFile side;
  side.write(folder / kSalientFile);
  const io::SafetensorsFile file(folder / kSalientFile);
  const SalientColumns columns = read_salient(file, "m", kN, kK);
  EXPECT_EQ(columns.index, side.index);
  EXPECT_EQ(columns.delta, side.delta);
  EXPECT_TRUE(read_salient(file, "another", kN, kK).empty());
}

TEST(Salient, RefusesIndicesOutOfRangeOrOrder) {
  SideFile side;
  side.index = {0, 7, 40};
  EXPECT_THAT(side.refusal(), HasSubstr("the linear has 40"));
  side.index = {-1, 7, 39};
  EXPECT_THAT(side.refusal(), HasSubstr("the linear has 40"));
  side.index = {7, 0, 39};
  EXPECT_THAT(side.refusal(), HasSubstr("not ascending"));
  side.index = {0, 7, 7};
  EXPECT_THAT(side.refusal(), HasSubstr("not ascending"));
}

TEST(Salient, RefusesShapesDtypesAndHalfPairs) {
  SideFile side;
  side.specs[1].shape = {3, kN - 1};
  EXPECT_THAT(side.refusal(), HasSubstr("m.salient_delta has shape [3, 5], [3, 6] is needed"));
  side = {};
  side.specs[1].dtype = Dtype::kBF16;
  EXPECT_THAT(side.refusal(), HasSubstr("BF16"));
  side = {};
  side.specs[0].shape = {3, 1};
  EXPECT_THAT(side.refusal(), HasSubstr("m.salient_index has shape [3, 1]"));
  side = {};
  side.specs[0].dtype = Dtype::kF32;
  EXPECT_THAT(side.refusal(), HasSubstr("F32"));
  for (const size_t dropped : {0, 1}) {
    side = {};
    const std::string name = side.specs[dropped].name;
    side.specs.erase(side.specs.begin() + dropped);
    EXPECT_THAT(side.refusal(), HasSubstr(name + " is missing"));
  }
}

TEST(Salient, RefusesMoreChannelsThanThereAreAndNaN) {
  SideFile side;
  side.index.assign(kK + 1, 0);
  side.delta.assign((kK + 1) * kN, 0);
  side.specs = salient_specs("m", kK + 1, kN);
  EXPECT_THAT(side.refusal(), HasSubstr("at most 40 channels"));
  side = {};
  side.delta[4] = 0x7e00;
  EXPECT_THAT(side.refusal(), HasSubstr("NaN"));
}

}  // namespace
}  // namespace awq::format
