// Reading, computing and writing side by side: what comes before what, and what is left when one of them fails or the
// process dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "awq/quantize.h"
#include "quant/small_job.h"
#include "quant/timeline.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::content_of;
using test::contents;
using testing::HasSubstr;

constexpr int kBlocks = 6;  // of models/demo

struct Event {
  std::string track;
  double begin = 0, end = 0;  // microseconds
};

// What a --trace file holds: events by stage and block.
class Trace {
 public:
  explicit Trace(const fs::path& file) {
    const json trace = json::parse(content_of(file));
    std::map<int, std::string> tracks;
    for (const json& e : trace.at("traceEvents")) {
      EXPECT_EQ(e.at("pid"), 1);
      if (e.at("ph") == "M") {
        EXPECT_EQ(e.at("name"), "thread_name");
        tracks[e.at("tid")] = e.at("args").at("name");
        continue;
      }
      EXPECT_EQ(e.at("ph"), "X") << "complete events and names only";
      const double begin = e.at("ts"), length = e.at("dur");
      EXPECT_GE(begin, 0);
      EXPECT_GE(length, 0);
      events_[{e.at("name"), e.at("args").at("block")}].push_back({tracks.at(e.at("tid")), begin, begin + length});
    }
  }
  const Event& at(const std::string& stage, int block) const {
    static const Event kNone;
    const auto found = events_.find({stage, block});
    if (found == events_.end() || found->second.size() != 1) {
      ADD_FAILURE() << stage << " of block " << block << " is not there once";
      return kNone;
    }
    return found->second[0];
  }
  const std::vector<Event>& all(const std::string& stage, int block) const { return events_.at({stage, block}); }

 private:
  std::map<std::pair<std::string, int>, std::vector<Event>> events_;
};

class Pipeline : public test::SmallJob {
 protected:
  Pipeline() { fs::copy(test::demo_folder(), folder_ / "model", fs::copy_options::recursive); }
  QuantizeOptions options(const std::string& out) const {
    QuantizeOptions o = SmallJob::options(out);
    o.model = folder_ / "model";
    return o;
  }
  // Runs that ends with an error while `at` has been told of `stage` of block 2; then one that resumes.
  void expect_resumed(const std::function<void()>& at_block_2, const std::function<void()>& repair,
                      const std::string& words) {
    QuantizeOptions part = options("part");
    part.progress = [&](const QuantizeProgress& p) {
      if (p.block == 2 && p.stage == "calibrate") at_block_2();
    };
    try {
      quantize(part);
      ADD_FAILURE() << "no error, expected: " << words;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr(words));
    }
    repair();
    EXPECT_FALSE(fs::exists(part.out));
    EXPECT_TRUE(fs::exists(folder_ / "part.awq-work" / "blocks" / "00000.json")) << "finished blocks are kept";
    part.progress = nullptr;
    part.resume = true;
    quantize(part);
    EXPECT_EQ(contents(part.out), undisturbed());
  }
  // What an undisturbed run writes; made once for all tests.
  const std::map<std::string, std::string>& undisturbed() const {
    static const auto files = [&] {
      const QuantizeOptions whole = options("whole");
      quantize(whole);
      return contents(whole.out);
    }();
    return files;
  }
};

TEST(Timeline, AddsUpByTrackAndStage) {
  quant::Timeline timeline;
  timeline.add(quant::Timeline::kWrite, "write", 0, 2, 5);
  timeline.add(quant::Timeline::kRead, "read", 0, 0, 1);
  timeline.add(quant::Timeline::kRead, "wait", 0, 1, 2);
  timeline.add(quant::Timeline::kRead, "read", 1, 2, 2.5);
  { const auto span = timeline.span(quant::Timeline::kCompute, "search", 0); }
  const std::vector<StageSeconds> stages = timeline.stages();
  ASSERT_EQ(stages.size(), 4u);
  EXPECT_EQ(stages[0].track + " " + stages[0].stage, "read read");
  EXPECT_EQ(stages[0].seconds, 1.5);
  EXPECT_EQ(stages[1].track + " " + stages[1].stage, "read wait");
  EXPECT_EQ(stages[2].track + " " + stages[2].stage, "compute search");
  EXPECT_GE(stages[2].seconds, 0);
  EXPECT_EQ(stages[3].track + " " + stages[3].stage, "write write");
  EXPECT_EQ(stages[3].seconds, 3);
}

TEST_F(Pipeline, ReadsAheadAndWritesBehind) {
  QuantizeOptions o = options("out");
  o.trace = folder_ / "trace.json";
  const QuantizeReport report = quantize(o);
  const Trace trace(o.trace);
  double begun = 0;
  for (const char* stage : {"plan", "open the device", "read calibration text", "start the engine", "embed"}) {
    EXPECT_GE(trace.at(stage, 0).begin, begun) << stage;
    begun = trace.at(stage, 0).end;
  }
  EXPECT_LE(begun, trace.at("load", 0).begin);
  for (int block = 0; block < kBlocks; ++block) {
    SCOPED_TRACE(block);
    const Event& read = trace.at("read", block);
    const Event& load = trace.at("load", block);
    const Event& calibrate = trace.at("calibrate", block);
    const Event& pack = trace.at("pack", block);
    const Event& write = trace.at("write", block);
    EXPECT_EQ(read.track, "read");
    EXPECT_EQ(calibrate.track, "compute");
    EXPECT_EQ(write.track, "write");
    EXPECT_LE(read.end, load.begin);
    EXPECT_LE(load.end, calibrate.begin);
    EXPECT_LE(calibrate.end, trace.at("search", block).begin);
    EXPECT_LE(trace.at("search", block).end, trace.at("clip", block).begin);
    EXPECT_LE(trace.at("clip", block).end, pack.begin);
    EXPECT_LE(pack.end, write.begin);
    for (const char* stage : {"forward", "gram"})
      for (const Event& part : trace.all(stage, block)) {
        EXPECT_EQ(part.track, "calibrate");
        EXPECT_GE(part.begin, calibrate.begin);
        EXPECT_LE(part.end, calibrate.end + 1);
      }
    if (block + 1 == kBlocks) continue;
    EXPECT_LE(load.end, trace.at("read", block + 1).begin) << "the memory is one block's";
    EXPECT_LT(trace.at("read", block + 1).begin, pack.begin) << "read while this block is computed";
    EXPECT_LE(write.end, trace.at("write", block + 1).begin) << "one block is written at a time";
  }
  EXPECT_LE(trace.at("write", kBlocks - 1).end, trace.at("assemble", kBlocks).begin);
  double computing = 0;
  for (const StageSeconds& s : report.stages)
    if (s.track == "compute") computing += s.seconds;
  EXPECT_LE(computing, report.seconds);
  EXPECT_GT(computing, 0.5 * report.seconds) << "the stages of the computing thread make up the run";
}

TEST_F(Pipeline, AReaderThatFailsLeavesARunThatResumes) {
  const fs::path weights = folder_ / "model" / "model.safetensors";
  const std::string bytes = content_of(weights);
  expect_resumed([&] { fs::resize_file(weights, bytes.size() / 3); },
                 [&] { std::ofstream(weights, std::ios::binary) << bytes; }, "model.safetensors");
}

// A limit on the size of files is a disk that fills up while the run is under way.
TEST_F(Pipeline, AWriterThatFailsLeavesARunThatResumes) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  expect_resumed(
      [&] {
        const rlimit small{4096, before.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
      },
      [&] { setrlimit(RLIMIT_FSIZE, &before); }, "part.awq-work");
  std::signal(SIGXFSZ, ignored);
}

class KilledAt : public Pipeline, public testing::WithParamInterface<const char*> {};

TEST_P(KilledAt, ResumesToTheSameBytes) {
  QuantizeOptions part = options("part");
  part.progress = [](const QuantizeProgress& p) {
    const bool outside = p.stage == "reading calibration text" || p.stage == "assembling the checkpoint";
    if (p.stage == GetParam() && (outside || p.block == 2)) ::kill(::getpid(), SIGKILL);
  };
  EXPECT_EXIT(quantize(part), testing::KilledBySignal(SIGKILL), "");
  EXPECT_FALSE(fs::exists(part.out));
  part.progress = nullptr;
  part.resume = true;
  quantize(part);
  EXPECT_EQ(contents(part.out), undisturbed());
  EXPECT_FALSE(fs::exists(folder_ / "part.awq-work"));
}
INSTANTIATE_TEST_SUITE_P(EveryStage, KilledAt,
                         testing::Values("reading calibration text", "calibrate", "search", "clip", "pack", "done",
                                         "assembling the checkpoint"),
                         [](const auto& stage) {
                           std::string name = stage.param;
                           std::ranges::replace(name, ' ', '_');
                           return name;
                         });

TEST_F(Pipeline, ATraceThatCannotBeWrittenIsRefusedBeforeAnyWork) {
  for (const fs::path& trace : {folder_ / "no such folder" / "trace.json", folder_}) {
    QuantizeOptions o = options("out");
    o.trace = trace;
    try {
      quantize(o);
      ADD_FAILURE() << trace;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      EXPECT_THAT(e.what(), HasSubstr("trace"));
    }
    EXPECT_FALSE(fs::exists(o.out) || fs::exists(folder_ / "out.awq-work"));
  }
}

TEST_F(Pipeline, NegativeBatchesAreRefused) {
  QuantizeOptions o = options("out");
  o.batch = -1;
  EXPECT_THROW(quantize(o), Error);
}

}  // namespace
}  // namespace awq
