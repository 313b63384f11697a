// The whole job of `awq quantize --device cuda` on the demo model: beside the CPU's, and beside itself in other
// batches, with less memory and after a stop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "awq/error.h"
#include "awq/quantize.h"
#include "backend/cuda/gpu/usable_gpu.h"
#include "backend/device.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "quant/small_job.h"

namespace awq::backend {
namespace {

using test::contents;

class QuantizeOnGpu : public test::SmallJob {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_gpu(); !why.empty()) GTEST_SKIP() << why;
  }
  // Everything at its default, but for little text of the built-in sample.
  QuantizeOptions options(const std::string& out) const {
    QuantizeOptions o;
    o.model = test::demo_folder();
    o.out = folder_ / out;
    o.device = "cuda";
    o.samples = 16;
    o.seqlen = 128;
    return o;
  }
};

model::ModelConfig demo_config() {
  return model::parse_config(io::Checkpoint(test::demo_folder()).config_text(), "config.json");
}

TEST_F(QuantizeOnGpu, ChoosesWhatTheCpuChooses) {
  QuantizeOptions on_cpu = options("cpu");
  on_cpu.device = "cpu";
  const QuantizeReport want = quantize(on_cpu), got = quantize(options("gpu"));
  ASSERT_EQ(got.linears.size(), want.linears.size());
  for (size_t i = 0; i < want.linears.size(); ++i) {
    EXPECT_LE(got.linears[i].loss, got.linears[i].rtn_loss) << got.linears[i].name;
    EXPECT_NEAR(got.linears[i].rtn_loss / want.linears[i].rtn_loss, 1, 5e-3) << got.linears[i].name;
    if (got.linears[i].chosen == want.linears[i].chosen) continue;
    EXPECT_NEAR(got.linears[i].loss / want.linears[i].loss, 1, 1e-3)
        << got.linears[i].name << ": " << got.linears[i].chosen << " for " << want.linears[i].chosen;
  }
}

TEST_F(QuantizeOnGpu, BatchAndRunDoNotChangeAByte) {
  const auto run = [&](const char* out, int batch) {
    QuantizeOptions o = options(out);
    o.batch = batch;
    o.keep_fp16 = 0.01;
    quantize(o);
    return contents(o.out);
  };
  const auto first = run("a", 1);
  EXPECT_EQ(run("b", 1), first);
  EXPECT_EQ(run("c", 8), first);
  EXPECT_EQ(run("d", 16), first);
}

TEST_F(QuantizeOnGpu, ASmallerCardGivesTheSameBytes) {
  const QuantizeOptions whole = options("whole");
  const QuantizeReport roomy = quantize(whole);
  EXPECT_FALSE(roomy.streams_linears);
  QuantEngineOptions one_window;
  one_window.windows = whole.samples;
  one_window.window = whole.seqlen;
  one_window.batch = 1;
  QuantizeOptions small = options("small");
  small.gpu_memory = open_device("cuda")->quant_memory(demo_config(), one_window).device - 1;
  const QuantizeReport report = quantize(small);
  EXPECT_TRUE(report.streams_linears);
  EXPECT_LE(report.planned_device_bytes, small.gpu_memory);
  EXPECT_EQ(contents(small.out), contents(whole.out));
  QuantizeOptions tiny = options("tiny");
  tiny.gpu_memory = 100 << 20;
  try {
    quantize(tiny);
    ADD_FAILURE() << "100 MB are less than the driver takes";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNoRoom);
    EXPECT_THAT(error.what(), testing::HasSubstr("of GPU memory even one linear and one window at a time"));
  }
}

TEST_F(QuantizeOnGpu, StopAndResumeGiveTheSameBytes) {
  const QuantizeOptions whole = options("whole");
  quantize(whole);
  QuantizeOptions part = options("part");
  std::atomic<int> stop{0};
  part.stop = &stop;
  part.progress = [&](const QuantizeProgress& p) {
    if (p.block == 3) stop = 2;
  };
  EXPECT_THROW(quantize(part), Error);
  stop = 0;
  part.progress = nullptr;
  part.resume = true;
  quantize(part);
  EXPECT_EQ(contents(part.out), contents(whole.out));
  part.device = "cpu";  // the digits would not be those of the blocks that are there
  part.force = true;
  EXPECT_NO_THROW(quantize(part));
}

}  // namespace
}  // namespace awq::backend
