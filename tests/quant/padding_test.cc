// --pad-intermediate: wider files, the same model.
#include "quant/padding.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "awq/error.h"
#include "awq/model.h"
#include "format/awq_checkpoint.h"
#include "format/registry.h"
#include "io/checkpoint.h"
#include "model/architectures.h"
#include "quant/small_job.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kDemo = AWQ_SOURCE_DIR "/models/demo";  // intermediate size 768
constexpr int64_t kWidth = 768, kPadded = 1024;

template <class Body>
std::string message(ErrorKind kind, Body&& body) {
  try {
    body();
    ADD_FAILURE() << "was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.kind()), static_cast<int>(kind)) << e.what();
    return e.what();
  }
  return "";
}

TEST(CopyPadded, RowsKeepTheirPlaceAndZerosSurroundThem) {
  const std::vector<int16_t> from = {1, 2, 3, 4, 5, 6};
  std::vector<int16_t> to(12, -1);
  const std::vector<int64_t> small = {2, 3}, large = {3, 4};
  quant::copy_padded(std::as_bytes(std::span(from)), small, std::as_writable_bytes(std::span(to)), large);
  EXPECT_THAT(to, ElementsAre(1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0, 0));
  const std::vector<int64_t> six = {6}, eight = {8};
  to.assign(8, -1);
  quant::copy_padded(std::as_bytes(std::span(from)), six, std::as_writable_bytes(std::span(to)), eight);
  EXPECT_THAT(to, ElementsAre(1, 2, 3, 4, 5, 6, 0, 0));
}

class Padding : public test::SmallJob {
 protected:
  QuantizeOptions options(const std::string& out, int64_t pad) const {
    QuantizeOptions o = SmallJob::options(out);
    o.config.group_size = 128;
    o.search = QuantizeOptions{}.search;
    o.pad_intermediate = pad;
    return o;
  }
  static std::vector<float> logits(const fs::path& folder) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(static_cast<int32_t>((i * 2654435761u) >> 20));
    return Model::load(folder.string(), {}).logits(ids);
  }
};

void expect_upper_left(const format::QuantizedLinear& small, const format::QuantizedLinear& large) {
  for (int64_t n = 0; n < large.n; ++n)
    for (int64_t k = 0; k < large.k; ++k) {
      const float want = n < small.n && k < small.k ? small.dequantized(n, k) : 0;
      ASSERT_EQ(large.dequantized(n, k), want) << n << ", " << k;
    }
}

// Without a search the codes of the real weights cannot depend on the padding, so that the logits must be equal but for
// the order in which float32 sums are taken.
TEST_F(Padding, WeightsAndLogitsStayWhatTheyWere) {
  for (const Layout layout : {Layout::kGemm, Layout::kGemv, Layout::kGemvFast, Layout::kCompressedTensors}) {
    QuantizeOptions plain = options("plain", 0), padded = options("padded", kPadded);
    for (QuantizeOptions* o : {&plain, &padded}) {
      o->search = Search::kNone;
      o->config.version = layout;
      o->config.zero_point = layout != Layout::kCompressedTensors;
      o->force = true;
      quantize(*o);
    }
    const io::Checkpoint before(plain.out), after(padded.out);
    const model::ModelConfig was = model::parse_config(before.config_text(), "config.json");
    const model::ModelConfig is = model::parse_config(after.config_text(), "config.json");
    ASSERT_EQ(was.intermediate, kWidth);
    ASSERT_EQ(is.intermediate, kPadded);
    for (const model::LinearShape& l : model::block_linears(was)) {
      const auto linears = model::block_linears(is);
      const model::LinearShape& wide = *std::ranges::find(linears, l.name, &model::LinearShape::name);
      const std::string module = "model.layers.2." + l.name;
      expect_upper_left(format::read_linear(before, was, module, l.n, l.k),
                        format::read_linear(after, is, module, wide.n, wide.k));
    }
    const std::vector<float> want = logits(plain.out), got = logits(padded.out);
    ASSERT_EQ(want.size(), got.size());
    double difference = 0, size = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      difference += (double{want[i]} - got[i]) * (double{want[i]} - got[i]);
      size += double{want[i]} * want[i];
    }
    EXPECT_LE(std::sqrt(difference / size), 1e-6) << format::layout(layout).name;
  }
}

// Half a group of weights, half a group of zeros: the zeros do not change the scale, which covers 0 always.
TEST_F(Padding, AGroupMayBeHalfPadding) {
  QuantizeOptions plain = options("plain", 0), padded = options("padded", 832);
  for (QuantizeOptions* o : {&plain, &padded}) o->config.group_size = 64, o->search = Search::kNone, o->clip = false;
  padded.config.group_size = 64;
  quantize(plain);
  quantize(padded);
  EXPECT_EQ(logits(plain.out).size(), logits(padded.out).size());
  const std::vector<float> want = logits(plain.out), got = logits(padded.out);
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4 * (1 + std::abs(want[i]))) << i;
}

TEST_F(Padding, SearchIgnoresWhatIsPadded) {
  const QuantizeReport plain = quantize(options("plain", 0)), padded = quantize(options("padded", kPadded));
  for (size_t i = 0; i < plain.linears.size(); ++i) {
    EXPECT_EQ(plain.linears[i].name, padded.linears[i].name);
    EXPECT_LE(padded.linears[i].loss, padded.linears[i].rtn_loss);
    const int64_t more = plain.linears[i].name.ends_with("down_proj") ? kPadded - kWidth : 0;
    EXPECT_EQ(padded.linears[i].dead_channels, plain.linears[i].dead_channels + more);
  }
}

TEST_F(Padding, ModulesInFloatArePaddedToo) {
  QuantizeOptions o = options("out", kPadded);
  o.config.modules_to_not_convert = {"mlp"};
  quantize(o);
  const io::Checkpoint checkpoint(o.out);
  EXPECT_THAT(checkpoint.info("model.layers.0.mlp.up_proj.weight").shape, ElementsAre(kPadded, 256));
  EXPECT_THAT(checkpoint.info("model.layers.0.mlp.down_proj.weight").shape, ElementsAre(256, kPadded));
  EXPECT_GT(logits(o.out).size(), 0u);
}

TEST_F(Padding, AutoIsTheLeastWidthThatServes) {
  QuantizeOptions o = options("out", kPadAuto);
  o.dry_run = true;
  o.serve_tp = {1, 2};
  EXPECT_EQ(quant::padded_config(model::parse_config(io::Checkpoint(kDemo).config_text(), "c"), o).intermediate,
            kWidth);
  o.config.group_size = 64;
  o.serve_tp = {1, 4};  // 256 inputs of o_proj over 4 GPUs are one group of 64
  EXPECT_EQ(quant::padded_config(model::parse_config(io::Checkpoint(kDemo).config_text(), "c"), o).intermediate,
            kPadded);
  EXPECT_THAT(quantize(o).warnings, ElementsAre(HasSubstr("on 4 GPUs: self_attn.o_proj: 256 outputs and 64 inputs")));
}

TEST_F(Padding, WhatCannotBeServedIsRefusedBeforeAnyWork) {
  QuantizeOptions o = options("out", 0);
  o.serve_tp = {1, 2, 4};
  EXPECT_THAT(message(ErrorKind::kBadInput, [&] { quantize(o); }),
              AllOf(HasSubstr("on so many GPUs: 4: self_attn.o_proj: 256 inputs do not make 4"),
                    HasSubstr("Remedy: quantize with --group-size 64")));
  EXPECT_FALSE(fs::exists(o.out));
  o.serve_tp = {0};
  EXPECT_THAT(message(ErrorKind::kUsage, [&] { quantize(o); }), HasSubstr("serving on 0 GPUs"));
}

TEST_F(Padding, WidthsOutOfRangeAreRefused) {
  for (const int64_t width : {int64_t{1}, int64_t{767}, int64_t{-2}, int64_t{1} << 40})
    EXPECT_THAT(message(ErrorKind::kUsage, [&] { quantize(options("out", width)); }),
                HasSubstr("is not in 768 (the model's own)"));
  EXPECT_THAT(
      message(ErrorKind::kBadInput, [&] { quantize(options("out", 800)); }),
      HasSubstr("mlp.down_proj (800 inputs); group sizes that fit: 32; or widen the MLP with --pad-intermediate"));
}

}  // namespace
}  // namespace awq
