#include "cli/bench_kernels.h"

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "awq/devices.h"
#include "awq/error.h"
#include "bench/cuda_report.h"
#include "bench/gpu.h"
#include "bench/kernel_page.h"
#include "bench/kernels_cpu.h"
#include "bench/kernels_cuda.h"
#include "bench/peers.h"
#include "bench/report_file.h"
#include "bench/single_query.h"
#include "cli/args.h"
#include "cli/json_answer.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace awq::cli {
namespace {

constexpr const char *kCpuShapes = "4096x4096,11008x4096", *kCpuTokens = "1,2,4,8,16,32,64,128,512";
constexpr const char *kGpuShapes = "llama2-7b,llama3-8b,llama3-70b",
                     *kGpuTokens = "1,2,4,8,16,32,64,128,256,512,1024,2048";
constexpr const char *kQueryModel = "llama3-8b", *kQueryRequests = "1,2,4,8,16,32,64";

std::string or_default(const std::string& text, const char* fallback) { return text.empty() ? fallback : text; }

nlohmann::ordered_json with_head(const Args& args, const nlohmann::ordered_json& body) {
  nlohmann::ordered_json json = begin_json(args);
  json.update(body);
  return json;
}

int run_on_cpu(const Args& args, const KernelBenchRequest& request, int threads) {
  if (!request.html.empty() || !request.peers.empty() || request.isolated || request.bf16)
    throw Error(ErrorKind::kUsage, "--html, --peers, --isolated and --bf16 are for kernels of GPUs (--device cuda)");
  bench::KernelBenchOptions options;
  options.shapes = bench::parse_shapes(or_default(request.shapes, kCpuShapes));
  options.m = bench::parse_tokens(or_default(request.tokens, kCpuTokens));
  options.group = request.group;
  options.every_row = request.every_row;
  options.csv = request.csv;
  options.threads = threads;
  options.commit = version_commit();
  options.json = args.common().json;
  std::ostringstream text;
  std::ostream silent(nullptr);
  const int code = bench::run_kernel_bench(options, text, args.common().quiet ? silent : std::cerr);
  if (options.json)
    answer_json(with_head(args, nlohmann::ordered_json::parse(text.str())));
  else
    answer(text.str());
  return code;
}

// Draws the progress with the time left, and stops the run when a signal asks for it.
class ShownProgress {
 public:
  ShownProgress(const Args& args, ProgressStyle style) : progress_(style, args.common().quiet) {}
  void operator()(const bench::BenchStep& step) {
    if (stop_signal() != 0) throw Error(ErrorKind::kInterrupted, "stopped: nothing was written");
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    // Not from the first step: the library loads its kernels in it.
    const double eta = step.done > 2 ? seconds / step.done * (step.total - step.done) : -1;
    progress_.show({step.what, step.done, step.total, seconds, eta, {}});
  }

 private:
  Progress progress_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bench::CudaBenchOptions gpu_options(const KernelBenchRequest& request) {
  bench::CudaBenchOptions options;
  options.group = request.group;
  options.bf16 = request.bf16;
  options.every_row = request.every_row;
  options.isolated = request.isolated;
  options.commit = version_commit();
  return options;
}

int answer_kernels(const Args& args, const KernelBenchRequest& request, const bench::CudaBenchReport& report) {
  const std::string name = bench::slug(report.device.name);
  std::optional<bench::PeerTable> table;
  if (!request.peers.empty()) table = bench::PeerTable::read_file(request.peers);
  const bench::PeerTable* peers = table ? &*table : nullptr;
  if (args.common().json)
    answer_json(with_head(args, bench::as_json(report, peers)));
  else
    answer(bench::table_text(report, peers));
  if (!request.csv.empty())
    note("rows written to " + bench::write_report_file(request.csv, name + ".csv", bench::csv_text(report)));
  if (!request.html.empty())
    note("charts written to " +
         bench::write_report_file(request.html, name + ".html", bench::html_page(report, peers)));
  return report.failures.empty() ? 0 : static_cast<int>(ErrorKind::kCheckFailed);
}

int run_kernels_on_gpu(const Args& args, const KernelBenchRequest& request, const DeviceInfo& device) {
  bench::CudaBenchOptions options = gpu_options(request);
  options.shapes = bench::parse_shapes(or_default(request.shapes, kGpuShapes));
  options.m = bench::parse_tokens(or_default(request.tokens, kGpuTokens));
  if (!request.peers.empty()) bench::PeerTable::read_file(request.peers);  // before minutes of measuring
  const auto lab = bench::open_lab(device);
  ShownProgress progress(args, request.progress);
  return answer_kernels(args, request, bench::measure_kernels(*lab, device, options, std::ref(progress)));
}

int run_single_query(const Args& args, const KernelBenchRequest& request, const DeviceInfo& device) {
  bench::CudaBenchOptions options = gpu_options(request);
  options.m = bench::parse_tokens(or_default(request.tokens, kQueryRequests));
  const bench::ModelShapes& model = bench::find_model_shapes(or_default(request.shapes, kQueryModel));
  const auto lab = bench::open_lab(device);
  ShownProgress progress(args, request.progress);
  const auto report = bench::measure_single_query(*lab, device, model, options, std::ref(progress));
  if (args.common().json)
    answer_json(with_head(args, bench::as_json(report)));
  else
    answer(bench::text_of(report));
  return 0;
}

}  // namespace

void declare_kernel_bench(Args& args, KernelBenchRequest& request) {
  args.section("kernel timings, without a model");
  args.flag("--kernels", request.kernels,
            "time single linears with cold weights, beside what this machine's memory and dense products reach; on a "
            "GPU where there is one, unless --device says cpu");
  args.flag("--single-query", request.single_query,
            "on a GPU: what one query and parallel ones cost with GEMV, GEMM and the automatic choice, and which to "
            "use; --shapes names the model (llama3-8b)");
  args.text("--shapes", "LIST", request.shapes,
            fmt::format("models and output x input features; on a CPU {}, on a GPU {}", kCpuShapes, kGpuShapes));
  args.text("--tokens,--m", "M,...", request.tokens,
            fmt::format("tokens at once; on a CPU {}, on a GPU {}", kCpuTokens, kGpuTokens));
  args.count("--group-size,--group,--q_group_size", "N", request.group, "as for quantize", {-1, 1 << 20});
  args.flag("--every-row", request.every_row, "also the kernels that no version stands for on this device");
  args.flag("--bf16", request.bf16, "bfloat16 activations instead of float16 (GPU)");
  args.flag("--isolated", request.isolated,
            "also launches that each wait for the end of the one before: alone, and not as a decoder runs them (GPU)");
  args.text("--csv", "PATH", request.csv, "write the rows to a file, or to a folder under a name of what was timed");
  args.text("--html", "PATH", request.html, "the same as a page with charts (a model, or kernels of a GPU)");
  args.text("--peers", "FILE", request.peers,
            "figures of other programs to compare with: a CSV with columns peer, N, K, M, us, relerr (GPU)");
  add_progress_option(args, request.progress);
}

int run_kernel_bench(const Args& args, const KernelBenchRequest& request, const std::string& device, int threads) {
  if (request.kernels && request.single_query)
    throw Error(ErrorKind::kUsage, "--kernels and --single-query are two runs: choose one");
  if (device == "cpu" && request.single_query)
    throw Error(ErrorKind::kUsage, "--single-query compares the kernels of a GPU; on a CPU run awq bench MODEL");
  const std::vector<DeviceInfo> all = device == "cpu" ? std::vector<DeviceInfo>{} : devices();
  if (request.kernels && (device == "cpu" || (device == "auto" && !bench::has_usable_gpu(all))))
    return run_on_cpu(args, request, threads);
  const DeviceInfo gpu = bench::find_gpu(all, device);
  catch_stop_signals();
  return request.single_query ? run_single_query(args, request, gpu) : run_kernels_on_gpu(args, request, gpu);
}

}  // namespace awq::cli
