// Latency of one query for each kernel version, side by side.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "awq/model.h"
#include "cli/args.h"
#include "cli/bench_kernels.h"
#include "cli/command.h"
#include "cli/json_answer.h"
#include "cli/model_options.h"
#include "cli/numbers.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

constexpr const char* kVersions[] = {"gemv", "gemm", "auto"};

struct Request {
  std::string model;
  int prompt = 128, generate = 64, repeat = 3;
  LoadOptions load;
  KernelBenchRequest kernels;
};

struct Latency {
  std::string version, kernels, refusal;   // refusal: why this version does not run here
  std::vector<double> first_token, token;  // seconds, one a run / one a token of all runs
};

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

// Tokens that any vocabulary has, spread over it: what they say does not matter for time.
std::vector<int32_t> prompt_of(int length, int vocabulary) {
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>((i * 7919 + 13) % static_cast<size_t>(vocabulary));
  return ids;
}

Latency measure(const Args& args, const Request& request, const char* version) {
  Latency latency{.version = version, .kernels = {}, .refusal = {}, .first_token = {}, .token = {}};
  LoadOptions load = request.load;
  load.version = version;
  try {
    const Model model = Model::load(request.model, load);
    latency.kernels = model.kernels();
    note_kernels(args, model, version);
    const std::vector<int32_t> prompt = prompt_of(request.prompt, model.vocab_size());
    const SamplingOptions sampling{.max_new_tokens = request.generate, .stop_at_eos = false};
    for (int run = -1; run < request.repeat && stop_signal() == 0; ++run) {
      GenerateTiming timing;
      model.generate(prompt, sampling, {}, &timing, &stop_signal());
      if (run < 0) continue;  // warm-up: page faults, clocks
      latency.first_token.push_back(timing.first_token_seconds);
      latency.token.insert(latency.token.end(), timing.token_seconds.begin(), timing.token_seconds.end());
    }
  } catch (const Error& error) {
    const bool nothing_runs = std::string_view(version) == "auto";
    if (error.kind() != ErrorKind::kDevice || nothing_runs) throw;
    latency.refusal = error.what();
  }
  return latency;
}

// The version with the least of `cost`, "auto" left out: it is a choice between the others.
std::string best(const std::vector<Latency>& all, double (*cost)(const Latency&)) {
  std::string name;
  double least = 0;
  for (const Latency& latency : all) {
    if (latency.version == "auto" || latency.first_token.empty()) continue;
    const double now = cost(latency);
    if (name.empty() || now < least) {
      name = latency.version;
      least = now;
    }
  }
  return name;
}

double first_token_cost(const Latency& latency) { return percentile(latency.first_token, 0.5); }
double token_cost(const Latency& latency) { return percentile(latency.token, 0.5); }

std::string recommendation(const std::vector<Latency>& all) {
  return fmt::format(
      "fastest for the prompt: {}; fastest for each further token: {}; auto chooses for each call by its number of "
      "tokens\n",
      best(all, first_token_cost), best(all, token_cost));
}

std::string text_of(const Request& request, const std::vector<Latency>& all) {
  Table table({"version", ">first token", ">token p50", ">p95", ">p99", ">tokens/s"});
  std::string refusals;
  const auto ms = [](double seconds) { return fmt::format("{:.2f} ms", seconds * 1e3); };
  for (const Latency& latency : all) {
    if (!latency.refusal.empty()) {
      refusals += fmt::format("{}: {}\n", latency.version, latency.refusal);
      continue;
    }
    const double p50 = percentile(latency.token, 0.5);
    table.row({latency.version, ms(first_token_cost(latency)), ms(p50), ms(percentile(latency.token, 0.95)),
               ms(percentile(latency.token, 0.99)), p50 > 0 ? fmt::format("{:.1f}", 1 / p50) : ""});
  }
  return fmt::format("one query: {} prompt tokens, {} new tokens, {} runs\n", request.prompt, request.generate,
                     request.repeat) +
         table.text() + refusals + recommendation(all);
}

nlohmann::ordered_json json_of(const Args& args, const Request& request, const std::vector<Latency>& all) {
  nlohmann::ordered_json json = begin_json(args);
  json["model"] = request.model;
  json["prompt_tokens"] = request.prompt;
  json["new_tokens"] = request.generate;
  json["versions"] = nlohmann::ordered_json::array();
  for (const Latency& latency : all) {
    json["versions"].push_back({{"version", latency.version},
                                {"kernels", latency.kernels},
                                {"refusal", latency.refusal},
                                {"first_token_seconds", latency.first_token},
                                {"token_seconds", latency.token},
                                {"token_p50", percentile(latency.token, 0.5)},
                                {"token_p95", percentile(latency.token, 0.95)},
                                {"token_p99", percentile(latency.token, 0.99)}});
  }
  json["best_for_prompt"] = best(all, first_token_cost);
  json["best_for_token"] = best(all, token_cost);
  return json;
}

}  // namespace

int run_bench(Args& args) {
  Request request;
  args.about(
      "Times a single query: how long until the first token (the prompt is processed at once: a matter of the GEMM "
      "kernels), and how long each further token takes (one row at a time: a matter of the GEMV kernels and of memory "
      "bandwidth). With --version gemv, --version gemm and the automatic choice side by side.");
  args.positional("MODEL", request.model,
                  "AWQ checkpoint, as for generate; not needed for --kernels and --single-query", false);
  args.section("the query");
  args.count("--prompt", "N", request.prompt, "tokens of the prompt", {1, 1 << 24});
  args.count("--generate", "N", request.generate, "tokens to generate", {2, 1 << 24});
  args.count("--repeat", "N", request.repeat, "runs; one more is made first to warm up", {1, 1e6});
  args.count("--threads", "N", request.load.threads, "0: one for each core", {0, 4096});
  args.text("--device", "DEVICE", request.load.device, "auto, cpu, cuda or cuda:N");
  declare_kernel_bench(args, request.kernels);
  args.example("awq bench out/demo-awq", "one query, all kernel versions");
  args.example("awq bench out/demo-awq --prompt 512 --generate 256 --repeat 5 --json", "raw samples as JSON");
  args.example("awq bench --single-query --shapes llama3-8b", "on this GPU: GEMV or GEMM, and from how many requests");
  args.example("awq bench --kernels --csv bench/results", "every kernel of this machine at several numbers of tokens");
  args.finish();
  if (request.kernels.wanted())
    return run_kernel_bench(args, request.kernels, request.load.device, request.load.threads);
  if (request.model.empty())
    throw Error(ErrorKind::kUsage, "MODEL is missing (or --kernels, or --single-query); see awq bench --help");

  catch_stop_signals();
  std::vector<Latency> all;
  for (const char* version : kVersions) {
    note(fmt::format("timing --version {}", version));
    all.push_back(measure(args, request, version));
    if (stop_signal() != 0) return exit_code_of_signal();
  }
  if (args.common().json) {
    answer_json(json_of(args, request, all));
  } else {
    answer(text_of(request, all));
  }
  return 0;
}

}  // namespace awq::cli
