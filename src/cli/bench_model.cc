#include "cli/bench_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "awq/devices.h"
#include "awq/error.h"
#include "bench/ceilings.h"
#include "bench/gpu.h"
#include "bench/model_bench.h"
#include "bench/model_report.h"
#include "bench/report_file.h"
#include "bench/shapes.h"
#include "cli/json_answer.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace awq::cli {
namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    if (comma > at) parts.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  if (parts.empty())
    throw Error(ErrorKind::kUsage, "--version names nothing; give auto, gemv, gemm or rows of awq devices");
  return parts;
}

// Of the device that the model will run on, measured just before.
void measure_ceilings(const ModelBenchRequest& request, bench::ModelBenchOptions& options) {
  const std::vector<DeviceInfo> all = devices();
  if (request.load.device == "cpu" || (request.load.device == "auto" && !bench::has_usable_gpu(all))) {
    ThreadPool pool(request.load.threads);
    options.read_bytes_per_s = bench::ReadProbe(pool, all.front().memory_bytes).bytes_per_second();
    return;
  }
  const auto lab = bench::open_lab(bench::find_gpu(all, request.load.device));
  options.read_bytes_per_s = lab->read_bandwidth();
  for (const int64_t tokens : options.prompts) {
    const Problem dense{.m = tokens, .n = 8192, .k = 8192, .group_size = 128, .bf16 = false};
    std::vector<double> us = lab->time_fp16_gemm(dense, {}).us;
    std::ranges::sort(us);
    const double flop = 2. * static_cast<double>(dense.m * dense.n * dense.k);
    options.dense_flop_per_s[tokens] = flop / us[us.size() / 2] * 1e6;
  }
}

std::string file_name(const bench::ModelBenchReport& report) {
  const std::string model = std::filesystem::path(report.model).filename().string();
  return bench::slug(model.empty() ? "model" : model) + "-" + bench::slug(report.device);
}

}  // namespace

void declare_model_bench(Args& args, ModelBenchRequest& request) {
  args.positional("MODEL", request.model, "original or AWQ checkpoint; not needed for --kernels and --single-query",
                  false);
  args.section("the run");
  args.text("--prompt", "N,...", request.prompts, "tokens of each prompt");
  args.count("--generate", "N", request.generate, "tokens to generate", {2, 1 << 24});
  args.text("--batch", "B,...", request.batches, "sequences together, each with a prompt of its own");
  args.text("--version", "V,...", request.versions,
            "kernel versions to put side by side: auto, gemv, gemm, rows of "
            "awq devices");
  args.count("--repeat", "N", request.repeat, "runs; one more is made first to warm up", {1, 1e6});
  args.real("--cell-seconds", "S", request.cell_seconds,
            "no further run of the same version, prompt and batch after so many seconds; 0: all of them", {0, 1e6});
  args.flag("--in-turn", request.in_turn,
            "the versions take turns, all loaded at once: for differences of a few per cent between them");
  args.flag("--stages", request.stages, "also each kind of work of a step by itself: where the time goes (GPU)");
  args.count("--threads", "N", request.load.threads, "0: one for each core", {0, 4096});
  args.text("--device", "DEVICE", request.load.device, "auto, cpu, cuda or cuda:N");
  args.flag("--ignore-salient", request.load.ignore_salient, "leave the channels of --keep-fp16 out");
}

int run_model_bench(const Args& args, const ModelBenchRequest& request, const std::string& csv,
                    const std::string& html) {
  bench::ModelBenchOptions options;
  options.model = request.model;
  options.device = request.load.device;
  options.prompts = bench::parse_tokens(request.prompts);
  options.batches = bench::parse_tokens(request.batches);
  options.versions = split(request.versions);
  options.generate = request.generate;
  options.repeat = request.repeat;
  options.cell_seconds = static_cast<double>(request.cell_seconds);
  options.threads = request.load.threads;
  options.in_turn = request.in_turn;
  options.ignore_salient = request.load.ignore_salient;
  options.stages = request.stages;
  options.commit = version_commit();
  options.progress = [](const std::string& what) { note(what); };
  catch_stop_signals();
  options.stop = &stop_signal();
  measure_ceilings(request, options);
  const bench::ModelBenchReport report = bench::measure_model(options);
  if (args.common().json) {
    nlohmann::ordered_json json = begin_json(args);
    json.update(bench::as_json(report));
    answer_json(json);
  } else {
    answer(bench::table_text(report));
  }
  if (!csv.empty())
    note("rows written to " + bench::write_report_file(csv, file_name(report) + ".csv", bench::csv_text(report)));
  if (!html.empty())
    note("charts written to " + bench::write_report_file(html, file_name(report) + ".html", bench::html_page(report)));
  return 0;
}

}  // namespace awq::cli
