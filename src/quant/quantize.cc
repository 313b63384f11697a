// The main job from end to end. One block of weights is in memory at a time; the hidden states of the calibration
// windows pass through the original blocks, so what a block sees does not depend on how the blocks before it were
// rounded, and a resumed run recomputes them exactly.
#include "awq/quantize.h"

#include <fmt/format.h>

#include <cmath>
#include <future>
#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "backend/device.h"
#include "core/host_memory.h"
#include "format/registry.h"
#include "io/checkpoint.h"
#include "io/file.h"
#include "io/output_folder.h"
#include "model/architectures.h"
#include "quant/assemble.h"
#include "quant/block.h"
#include "quant/block_reader.h"
#include "quant/calibration.h"
#include "quant/padding.h"
#include "quant/plan.h"
#include "quant/timeline.h"
#include "quant/work_folder.h"

namespace awq {
namespace quant {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSearchNames[] = {"none", "paper", "duo", "both"};
constexpr const char* kObjectiveNames[] = {"gram", "module"};
constexpr const char* kSalientNames[] = {"activation", "weight", "random"};

// Everything the bytes of the output depend on, and nothing else (threads, for one, are not here).
std::string settings_json(const io::Checkpoint& checkpoint, const model::ModelConfig& config, const QuantizeOptions& o,
                          const CalibrationTokens& tokens, DeviceKind device) {
  nlohmann::ordered_json j = {{"format", 1},
                              {"awq_version", AWQ_VERSION},
                              {"model", checkpoint.fingerprint()},
                              {"intermediate_size", config.intermediate},
                              {"bits", o.config.bits},
                              {"group_size", o.config.group_size},
                              {"zero_point", o.config.zero_point},
                              {"version", format::layout(o.config.version).name},
                              {"modules_to_not_convert", o.config.modules_to_not_convert},
                              {"calibration", tokens.hash},
                              {"windows", tokens.windows},
                              {"seqlen", o.seqlen},
                              {"search", kSearchNames[static_cast<int>(o.search)]},
                              {"objective", kObjectiveNames[static_cast<int>(o.objective)]},
                              {"clip", o.clip},
                              {"keep_fp16", o.keep_fp16},
                              {"salient_by", kSalientNames[static_cast<int>(o.salient_by)]},
                              {"seed", o.seed},
                              {"max_shard_bytes", o.max_shard_bytes}};
  if (device == DeviceKind::kCuda) j["device"] = "cuda";  // rounds differently in the last digits
  return j.dump(1);
}

// compressed-tensors without zero points is a layout of its own.
QuantizeOptions with_final_layout(QuantizeOptions options) {
  QuantConfig& config = options.config;
  if (!config.zero_point) config.version = format::layout(config.version).symmetric;
  return options;
}

class Job {
 public:
  explicit Job(const QuantizeOptions& options)
      : options_(with_final_layout(options)),
        checkpoint_(io::resolve_model(options.model)),
        source_(model::parse_config(checkpoint_.config_text(), (checkpoint_.folder() / "config.json").string())),
        config_(padded_config(source_, options_)) {
    if (source_.quantized)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("'{}' is quantized already; quantize the original checkpoint, or repack "
                              "this one with `awq convert`",
                              checkpoint_.folder().string()));
  }

  QuantizeReport run() {
    const auto timed = [&](const char* name, int64_t block, const auto& step) {
      const auto span = timeline_.span(Timeline::kCompute, name, block);
      step();
    };
    timed("plan", 0, [&] { plan_ = make_plan(checkpoint_, source_, options_); });
    timed("open the device", 0, [&] { device_ = backend::open_device(options_.device); });
    fill_plan();
    if (options_.dry_run) {
      report_.seconds = plan_.flops / device_->quant_engine(config_, {})->measure_flops();
      return report_;
    }
    io::OutputFolder output(options_.out, checkpoint_.folder(), options_.force);
    check_room(plan_, options_, fs::absolute(options_.out).parent_path());
    if (const std::string why = why_no_device_room(memory_, options_); !why.empty())
      throw Error(ErrorKind::kNoRoom, why);
    tell("reading calibration text", 0);
    timed("read calibration text", 0,
          [&] { tokens_ = load_calibration(checkpoint_.folder(), options_, config_.vocab); });
    report_.warnings.insert(report_.warnings.end(), tokens_.warnings.begin(), tokens_.warnings.end());
    report_.tokens = tokens_.ids.size();
    report_.data_hash = tokens_.hash;
    const std::string settings = settings_json(checkpoint_, config_, options_, tokens_, device_->info().kind);
    WorkFolder work(work_path(), settings, planned_shards(plan_, options_), options_.resume, options_.force);
    quantize_blocks(work);
    tell("assembling the checkpoint", config_.layers);
    timed("assemble", config_.layers,
          [&] { assemble(checkpoint_, config_, options_, work.shards(), report_, settings, output.path()); });
    timed("commit", config_.layers, [&] { output.commit(); });
    timed("remove the work folder", config_.layers, [&] { work.remove(); });
    report_.seconds = timeline_.seconds();
    report_.stages = timeline_.stages();
    report_.peak_rss_bytes = peak_host_memory();
    if (!options_.trace.empty()) io::write_file(options_.trace, timeline_.chrome_trace());
    return report_;
  }

 private:
  void fill_plan() {
    report_.out = options_.out;
    report_.bytes_in = plan_.bytes_in;
    report_.bytes_out = plan_.bytes_out;
    report_.bits_per_weight = plan_.bits_per_weight;
    memory_ = device_->quant_memory(config_, engine_options());
    plan_.memory_bytes = memory_.host;
    report_.device = device_->info().kind == DeviceKind::kCpu
                         ? "cpu"
                         : fmt::format("cuda:{} ({})", device_->info().index, device_->info().name);
    report_.planned_memory_bytes = memory_.host;
    report_.planned_device_bytes = memory_.device;
    report_.streams_linears = memory_.streams_linears;
    report_.planned_disk_bytes = plan_.disk_bytes;
    report_.kept_fp16 = plan_.kept_fp16;
    report_.warnings = checkpoint_.warnings();
    report_.warnings.insert(report_.warnings.end(), plan_.warnings.begin(), plan_.warnings.end());
    if (const std::string why = why_no_device_room(memory_, options_); !why.empty() && options_.dry_run)
      report_.warnings.push_back(why);
  }

  fs::path work_path() const {
    if (!options_.work_dir.empty()) return options_.work_dir;
    fs::path beside = fs::absolute(options_.out).lexically_normal();
    if (!beside.has_filename()) beside = beside.parent_path();  // "out/"
    return beside.parent_path() / (beside.filename().string() + ".awq-work");
  }

  // Stages see this between steps: a stop is an exception that leaves the finished blocks where --resume finds them.
  void poll() const {
    if (options_.stop && options_.stop->load() != 0)
      throw Error(ErrorKind::kInterrupted,
                  fmt::format("stopped; finished blocks are kept in '{}': run the same command with "
                              "--resume to go on",
                              work_path().string()));
  }

  void tell(std::string_view stage, int64_t block, std::string note = {}) const {
    poll();
    if (!options_.progress) return;
    QuantizeProgress p;
    p.stage = stage;
    p.block = static_cast<int>(block);
    p.blocks = static_cast<int>(config_.layers);
    p.seconds = timeline_.seconds();
    if (searched_ > 0)
      p.eta_seconds = search_seconds_ / static_cast<double>(searched_) * static_cast<double>(config_.layers - block);
    p.note = std::move(note);
    options_.progress(p);
  }

  backend::QuantEngineOptions engine_options() const {
    const QuantConfig& c = options_.config;
    backend::QuantEngineOptions o;
    o.threads = options_.threads;
    o.windows = options_.samples;
    o.window = options_.seqlen;
    o.grid = {c.bits, c.group_size == -1 ? 0 : c.group_size, c.zero_point};
    o.batch = options_.batch;
    o.device_memory = options_.gpu_memory;
    o.scores_modules = options_.objective == Objective::kModule;
    return o;
  }

  void embed(backend::QuantEngine& engine) {
    const auto span = timeline_.span(Timeline::kCompute, "embed", 0);
    constexpr int64_t kTokens = 4096;  // a step: 64 MB at a hidden size of 4096
    const int64_t count = std::ssize(tokens_.ids);
    const std::string name = model::outer_tensors(config_).front().name;
    std::vector<float> rows(std::min(kTokens, count) * config_.hidden);
    for (int64_t first = 0; first < count; first += kTokens) {
      const MatrixView<float> states(rows.data(), std::min(kTokens, count - first), config_.hidden);
      for (int64_t t = 0; t < states.rows; ++t)
        checkpoint_.read_f32(name, tokens_.ids[first + t], 1, states.row_span(t));
      engine.set_hidden(first, states);
    }
  }

  // Three threads: one reads block i + 1, this one computes block i, one writes block i - 1. Embeddings and head are
  // written beside them.
  void quantize_blocks(WorkFolder& work) {
    const std::unique_ptr<backend::QuantEngine> engine = start_engine();
    std::future<void> outer = std::async(std::launch::async, [&] {
      const auto span = timeline_.span(Timeline::kOuter, "write embeddings and head", 0);
      write_outer(checkpoint_, config_, work.shards(), [&] { poll(); });
    });
    try {
      BlockReader reader(checkpoint_, source_, config_, *engine, timeline_);
      reader.start(0);
      std::future<void> writing;
      if (memory_.device > 0)  // results come from a device; one block's is made while another is written
        first_memory_ = std::async(std::launch::async, [this] {
          std::vector<BlockResult> memory(static_cast<size_t>(std::min<int64_t>(2, config_.layers)));
          for (BlockResult& result : memory) result = block_memory(config_, options_);
          return memory;
        });
      embed(*engine);
      for (int64_t layer = 0; layer < config_.layers; ++layer)
        with_context([&] { return fmt::format("quantizing block {} of {}", layer, config_.layers); },
                     [&] { quantize_block_of(layer, work, *engine, reader, writing); });
      const auto span = timeline_.span(Timeline::kCompute, "wait for writing", config_.layers);
      if (writing.valid()) writing.get();
      outer.get();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDevice && error.kind() != ErrorKind::kNoRoom) throw;
      throw Error(error.kind(),
                  fmt::format("{}\nfinished blocks are kept in '{}': run the same command with --resume to "
                              "go on",
                              error.what(), work_path().string()));
    }
  }

  std::unique_ptr<backend::QuantEngine> start_engine() {
    const auto span = timeline_.span(Timeline::kCompute, "start the engine", 0);
    backend::QuantEngineOptions o = engine_options();
    o.windows = tokens_.windows;
    o.batch = memory_.batch;
    o.streams_linears = memory_.streams_linears;
    return device_->quant_engine(config_, o);
  }

  void quantize_block_of(int64_t layer, WorkFolder& work, backend::QuantEngine& engine, BlockReader& reader,
                         std::future<void>& writing) {
    const double begun = timeline_.seconds();
    std::optional<Timeline::Span> span;
    const auto stage = [&](std::string_view name) {
      span.reset(), span.emplace(timeline_, Timeline::kCompute, name, layer);
    };
    std::optional<std::vector<LinearReport>> reports = work.finished(layer);
    tell(reports ? "already done, passing through" : "calibrate", layer);
    stage("wait for reading");
    const std::vector<backend::BlockTensor> tensors = reader.take();
    stage("load");
    engine.load_block(layer, tensors);
    stage("calibrate");
    if (layer + 1 < config_.layers) reader.start(layer + 1);
    const std::vector<size_t> keep = module_groups(config_, options_);
    const double calibrating = timeline_.seconds();
    engine.forward_block({.collect = !reports,
                          .keep_inputs = keep,
                          .poll = [&] { poll(); },
                          .timed =
                              [&](std::string_view name, double begin, double end) {
                                timeline_.add(Timeline::kCalibrate, name, layer, calibrating + begin,
                                              calibrating + end);
                              }});
    if (!reports) {
      auto result = std::make_shared<BlockResult>(quantize_block(
          engine, config_, layer, options_, [&](std::string_view name) { tell(name, layer), stage(name); },
          unused_memory()));
      reports = result->reports;
      stage("wait for writing");
      if (writing.valid()) writing.get();
      if (writing_) unused_.push_back(std::move(*writing_));
      writing_ = result;
      writing = std::async(std::launch::async, [this, layer, result, &work] {
        const auto write = timeline_.span(Timeline::kWrite, "write", layer);
        work.store(layer, *result, format::layout(options_.config.version));
      });
      ++searched_;
      search_seconds_ += timeline_.seconds() - begun;
    }
    span.reset();
    for (const LinearReport& r : *reports)
      if (!r.warning.empty()) report_.warnings.push_back(r.name + ": " + r.warning);
    report_.linears.insert(report_.linears.end(), reports->begin(), reports->end());
    tell("done", layer + 1, summary(*reports));
  }

  BlockResult unused_memory() {
    if (first_memory_.valid()) unused_ = first_memory_.get();
    if (unused_.empty()) return {};
    BlockResult memory = std::move(unused_.back());
    unused_.pop_back();
    return memory;
  }

  static std::string summary(const std::vector<LinearReport>& reports) {
    double rtn = 0, loss = 0;
    for (const LinearReport& r : reports) rtn += r.rtn_loss, loss += r.loss;
    return fmt::format("output error {:.3e}, plain rounding {:.3e} ({:+.1f} %)", loss, rtn,
                       rtn > 0 ? 100 * (loss / rtn - 1) : 0);
  }

  const QuantizeOptions options_;
  io::Checkpoint checkpoint_;
  const model::ModelConfig source_, config_;  // of the checkpoint, and as it will be written: padded
  Plan plan_;
  CalibrationTokens tokens_;
  QuantizeReport report_;
  backend::QuantMemory memory_;
  std::unique_ptr<backend::Device> device_;
  std::shared_ptr<BlockResult> writing_;  // of the thread that writes; read only until it is done
  std::vector<BlockResult> unused_;       // of blocks that are written: their memory is for the next ones
  std::future<std::vector<BlockResult>> first_memory_;
  Timeline timeline_;
  int64_t searched_ = 0;
  double search_seconds_ = 0;
};

}  // namespace
}  // namespace quant

QuantizeReport quantize(const QuantizeOptions& options) { return quant::Job(options).run(); }

}  // namespace awq
