#include "bench/model_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>

#include "awq/error.h"
#include "bench/report_file.h"
#include "bench/statistics.h"
#include "io/checkpoint.h"
#include "model/architectures.h"

namespace awq::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<double> sorted(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values;
}

// Tokens that any vocabulary has, spread over it and different in every sequence: what they say does not matter.
std::vector<int32_t> prompt_of(int length, int64_t vocab, int64_t sequence) {
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] =
        static_cast<int32_t>((i * 7919 + 13 + static_cast<size_t>(sequence) * 104729) % static_cast<size_t>(vocab));
  return ids;
}

// Sequences that advance together, each by the most likely token.
class Together {
 public:
  Together(backend::Executor& executor, int64_t batch)
      : executor_(executor), draws_(static_cast<size_t>(batch)), ids_(static_cast<size_t>(batch)) {}

  void start(int prompt, int generate) {
    slots_.clear();
    prompts_.clear();
    for (size_t s = 0; s < ids_.size(); ++s) {
      slots_.push_back(static_cast<int>(s));
      executor_.reset(slots_.back());
      prompts_.push_back(prompt_of(prompt, executor_.config().vocab, static_cast<int64_t>(s)));
    }
    executor_.reserve(slots_, int64_t{prompt} + generate);
  }
  void read_prompts() {
    inputs_.clear();
    for (size_t s = 0; s < ids_.size(); ++s) inputs_.push_back({.slot = slots_[s], .tokens = prompts_[s]});
    advance();
  }
  void step() {
    last_ = ids_;
    inputs_.clear();
    for (size_t s = 0; s < ids_.size(); ++s) inputs_.push_back({.slot = slots_[s], .tokens = {&last_[s], 1}});
    advance();
  }

 private:
  void advance() {
    if (executor_.next_tokens(inputs_, draws_, ids_)) return;
    const int64_t vocab = executor_.config().vocab, rows = std::ssize(ids_);
    logits_.resize(static_cast<size_t>(rows * vocab));
    executor_.forward(inputs_, {logits_.data(), rows, vocab});
    for (int64_t r = 0; r < rows; ++r)
      ids_[static_cast<size_t>(r)] =
          static_cast<int32_t>(std::max_element(logits_.begin() + r * vocab, logits_.begin() + (r + 1) * vocab) -
                               logits_.begin() - r * vocab);
  }

  backend::Executor& executor_;
  std::vector<backend::TokenDraw> draws_;
  std::vector<int32_t> ids_, last_;
  std::vector<int> slots_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<backend::SequenceInput> inputs_;
  std::vector<float> logits_;
};

class Measurement {
 public:
  explicit Measurement(const ModelBenchOptions& options)
      : options_(options),
        checkpoint_(io::resolve_model(options.model)),
        config_(model::parse_config(checkpoint_.config_text(), (checkpoint_.folder() / "config.json").string())),
        device_(backend::open_device(options.device)) {
    const int64_t context = int64_t{options.prompt} + options.generate;
    if (context > config_.max_positions)
      throw Error(ErrorKind::kUsage, fmt::format("{} prompt tokens and {} new ones exceed the model's context of {}",
                                                 options.prompt, options.generate, config_.max_positions));
    report_.model = options.model;
    report_.device = device_->info().name;
    report_.architecture = device_->info().architecture;
    report_.commit = options.commit;
    report_.date = today();
    report_.prompt = options.prompt;
    report_.generate = options.generate;
    report_.repeat = options.repeat;
    report_.read_bytes_per_s = options.read_bytes_per_s;
    report_.dense_flop_per_s = options.dense_flop_per_s;
    for (const model::LinearShape& l : model::block_linears(config_))
      report_.linear_flop_a_token += 2 * static_cast<double>(l.n * l.k * config_.layers);
  }

  ModelBenchReport run() {
    for (const std::string& version : options_.versions) run_version(version);
    return std::move(report_);
  }

 private:
  void say(const std::string& what) const {
    if (options_.stop != nullptr && options_.stop->load() != 0)
      throw Error(ErrorKind::kInterrupted, "stopped: nothing was written");
    if (options_.progress) options_.progress(what);
  }

  // A version that the hardware does not run is a line of the report, unless it is the choice among all.
  void run_version(const std::string& version) {
    say(fmt::format("loading {} for --version {}", options_.model, version));
    try {
      const auto most = *std::max_element(options_.batches.begin(), options_.batches.end());
      const auto executor = device_->load_executor(checkpoint_, config_,
                                                   {.version = version,
                                                    .slots = static_cast<int>(most),
                                                    .threads = options_.threads,
                                                    .ignore_salient = options_.ignore_salient});
      for (const int64_t batch : options_.batches) {
        say(fmt::format("--version {}, {} sequence{}", version, batch, batch == 1 ? "" : "s"));
        report_.timings.push_back(time(*executor, version, batch));
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kDevice || version == "auto") throw;
      report_.refusals.push_back(version + ": " + error.what());
    }
  }

  ModelTiming time(backend::Executor& executor, const std::string& version, int64_t batch) const {
    ModelTiming timing{.version = version, .kernels = executor.kernels(), .batch = batch};
    Together together(executor, batch);
    for (int run = -1; run < options_.repeat; ++run) {  // the first warms up: clocks, caches, graphs
      together.start(options_.prompt, options_.generate);
      auto start = Clock::now();
      together.read_prompts();
      if (run >= 0) timing.first_token.push_back(seconds_since(start));
      for (int i = 1; i < options_.generate; ++i) {
        start = Clock::now();
        together.step();
        if (run >= 0) timing.step.push_back(seconds_since(start));
      }
      if (options_.stop != nullptr && options_.stop->load() != 0) say("");
    }
    const auto context = static_cast<uint64_t>(options_.prompt + options_.generate / 2);
    timing.step_bytes = executor.weight_bytes() + static_cast<uint64_t>(batch) * context * executor.cache_bytes();
    timing.memory_bytes = executor.memory_bytes();
    if (options_.stages) timing.stages = executor.time_stages(static_cast<int>(batch), static_cast<int64_t>(context));
    return timing;
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
  return seconds > 0 ? linear_flop_a_token * static_cast<double>(prompt * t.batch) / seconds : 0;
}

ModelBenchReport measure_model(const ModelBenchOptions& options) {
  return with_context([&] { return "timing " + options.model; }, [&] { return Measurement(options).run(); });
}

}  // namespace awq::bench
