#include "bench/model_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>

#include "awq/error.h"
#include "bench/report_file.h"
#include "bench/statistics.h"
#include "bench/together.h"
#include "io/checkpoint.h"
#include "model/architectures.h"

namespace awq::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kWarmUpTokens = 32;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<double> sorted(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values;
}

class Measurement {
 public:
  explicit Measurement(const ModelBenchOptions& options)
      : options_(options),
        checkpoint_(io::resolve_model(options.model)),
        config_(model::parse_config(checkpoint_.config_text(), (checkpoint_.folder() / "config.json").string())),
        device_(backend::open_device(options.device)) {
    const int64_t longest = *std::max_element(options.prompts.begin(), options.prompts.end());
    if (longest > config_.max_positions - options.generate)
      throw Error(ErrorKind::kUsage, fmt::format("{} prompt tokens and {} new ones exceed the model's context of {}",
                                                 longest, options.generate, config_.max_positions));
    report_.model = options.model;
    report_.device = device_->info().name;
    report_.architecture = device_->info().architecture;
    report_.commit = options.commit;
    report_.date = today();
    report_.generate = options.generate;
    report_.repeat = options.repeat;
    report_.read_bytes_per_s = options.read_bytes_per_s;
    report_.dense_flop_per_s = options.dense_flop_per_s;
    for (const model::LinearShape& l : model::block_linears(config_))
      report_.linear_flop_a_token += 2 * static_cast<double>(l.n * l.k * config_.layers);
  }

  ModelBenchReport run() {
    const std::span<const std::string> all(options_.versions);
    const size_t at_once = options_.in_turn ? all.size() : 1;
    for (size_t i = 0; i < all.size(); i += at_once) run_versions(all.subspan(i, at_once));
    return std::move(report_);
  }

 private:
  // A version's model, and what its cells have in common.
  struct Loaded {
    std::unique_ptr<backend::Executor> executor;
    ModelTiming blank;
  };
  // A cell being measured.
  struct Cell {
    backend::Executor& executor;
    ModelTiming timing;
    Together together;
    double seconds = 0;  // spent on it so far
  };

  void say(const std::string& what) const {
    stop_if_asked();
    if (options_.progress) options_.progress(what);
  }

  void stop_if_asked() const {
    if (options_.stop != nullptr && options_.stop->load() != 0)
      throw Error(ErrorKind::kInterrupted, "stopped: nothing was written");
  }

  void run_versions(std::span<const std::string> versions) {
    std::vector<Loaded> loaded;
    for (const std::string& version : versions) load(version, loaded);
    for (const int64_t prompt : options_.prompts)
      for (const int64_t batch : options_.batches) time_cells(loaded, prompt, batch);
  }

  // A version that the hardware does not run is a line of the report, unless it is the choice among all.
  void load(const std::string& version, std::vector<Loaded>& loaded) {
    say(fmt::format("loading {} for --version {}", options_.model, version));
    const auto most = *std::max_element(options_.batches.begin(), options_.batches.end());
    const auto begun = Clock::now();
    try {
      auto executor = device_->load_executor(checkpoint_, config_,
                                             {.version = version,
                                              .slots = static_cast<int>(most),
                                              .threads = options_.threads,
                                              .ignore_salient = options_.ignore_salient});
      ModelTiming blank{.version = version, .kernels = executor->kernels(), .load_seconds = seconds_since(begun)};
      loaded.push_back({std::move(executor), std::move(blank)});
    } catch (const Error& error) {
      refuse(version, error);
    }
  }

  void refuse(const std::string& version, const Error& error) {
    if (error.kind() != ErrorKind::kDevice || version == "auto") throw error;
    report_.refusals.push_back(version + ": " + error.what());
  }

  // The versions take turns, so that heat, clocks and what else the machine does meet all of them; every second run
  // backwards, because what a version leaves of these meets the one behind it. (Always behind gemv, auto's prompts of
  // 16 sequences took 203 ms where gemm's, of the same kernels, took 192; one H200, 2026-11-22.)
  void time_cells(std::span<const Loaded> loaded, int64_t prompt, int64_t batch) {
    std::vector<Cell> cells;
    for (const Loaded& one : loaded) {
      say(fmt::format("--version {}, {} prompt tokens, {} sequence{}", one.blank.version, prompt, batch,
                      batch == 1 ? "" : "s"));
      cells.push_back({*one.executor, one.blank, Together(*one.executor, batch)});
      cells.back().timing.prompt = prompt;
      cells.back().timing.batch = batch;
      if (!warm_up_or_refuse(cells.back())) cells.pop_back();
    }
    for (int run = 0; run < options_.repeat; ++run)
      for (size_t turn = 0; turn < cells.size(); ++turn) {
        const size_t place = run % 2 == 0 ? turn : cells.size() - 1 - turn;
        Cell& cell = cells[(static_cast<size_t>(run / 2) + place) % cells.size()];
        stop_if_asked();
        if (run == 0 || options_.cell_seconds <= 0 || cell.seconds < options_.cell_seconds) run_once(cell);
      }
    for (Cell& cell : cells) {
      finish(cell);
      report_.timings.push_back(std::move(cell.timing));
    }
  }

  bool warm_up_or_refuse(Cell& cell) {
    try {
      warm_up(cell);
      return true;
    } catch (const Error& error) {  // a row that is not for so many tokens
      refuse(fmt::format("{}, {} sequences", cell.timing.version, cell.timing.batch), error);
      return false;
    }
  }

  // Clocks, caches, graphs: a prompt and some steps.
  void warm_up(Cell& cell) const {
    const auto begun = Clock::now();
    cell.together.start(cell.timing.prompt, options_.generate);
    cell.together.read_prompts();
    for (int i = 1; i < std::min(options_.generate, kWarmUpTokens); ++i) cell.together.step();
    cell.seconds += seconds_since(begun);
  }

  void run_once(Cell& cell) const {
    const auto begun = Clock::now();
    cell.together.start(cell.timing.prompt, options_.generate);
    auto start = Clock::now();
    cell.together.read_prompts();
    cell.timing.first_token.push_back(seconds_since(start));
    for (int i = 1; i < options_.generate; ++i) {
      start = Clock::now();
      cell.together.step();
      cell.timing.step.push_back(seconds_since(start));
    }
    cell.seconds += seconds_since(begun);
  }

  void finish(Cell& cell) const {
    ModelTiming& t = cell.timing;
    const auto context = static_cast<uint64_t>(t.prompt + options_.generate / 2),
               batch = static_cast<uint64_t>(t.batch);
    t.step_bytes = cell.executor.weight_bytes() + batch * context * cell.executor.cache_bytes();
    t.memory_bytes = cell.executor.memory_bytes();
    if (options_.stages) t.stages = cell.executor.time_stages(static_cast<int>(batch), static_cast<int64_t>(context));
  }

  const ModelBenchOptions& options_;
  io::Checkpoint checkpoint_;
  model::ModelConfig config_;
  std::unique_ptr<backend::Device> device_;
  ModelBenchReport report_;
};

}  // namespace

double ModelTiming::percentile(double p) const { return step.empty() ? 0 : bench::percentile(sorted(step), p); }

double ModelTiming::tokens_per_s() const {
  const double median = percentile(0.5);
  return median > 0 ? static_cast<double>(batch) / median : 0;
}

double ModelTiming::median_first_token() const {
  return first_token.empty() ? 0 : bench::percentile(sorted(first_token), 0.5);
}

double ModelBenchReport::floor_seconds(const ModelTiming& t) const {
  return read_bytes_per_s > 0 ? static_cast<double>(t.step_bytes) / read_bytes_per_s : 0;
}

double ModelBenchReport::share_of_floor(const ModelTiming& t) const {
  const double median = t.percentile(0.5);
  return median > 0 ? floor_seconds(t) / median : 0;
}

double ModelBenchReport::prompt_flop_per_s(const ModelTiming& t) const {
  const double seconds = t.median_first_token();
  return seconds > 0 ? linear_flop_a_token * static_cast<double>(t.prompt * t.batch) / seconds : 0;
}

double ModelBenchReport::share_of_dense(const ModelTiming& t) const {
  const auto dense = dense_flop_per_s.find(t.prompt);
  return dense == dense_flop_per_s.end() ? 0 : prompt_flop_per_s(t) / dense->second;
}

ModelBenchReport measure_model(const ModelBenchOptions& options) {
  return with_context([&] { return "timing " + options.model; }, [&] { return Measurement(options).run(); });
}

}  // namespace awq::bench
