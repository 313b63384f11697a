#include "awq/devices.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/json_answer.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

std::string device_line(const DeviceInfo& device) {
  const bool cpu = device.kind == DeviceKind::kCpu;
  const std::string label = cpu ? "cpu" : fmt::format("cuda:{}", device.index);
  if (!device.unusable.empty()) return fmt::format("{}  not usable: {}\n", label, device.unusable);
  std::string line = fmt::format("{}  {}, {}", label, device.name, device.architecture);
  if (!cpu) line += fmt::format(", compute capability {}.{}", device.capability / 10, device.capability % 10);
  line += fmt::format(", {} {}, {} memory", device.compute_units, cpu ? "cores" : "multiprocessors",
                      human_bytes(device.memory_bytes));
  if (device.last_cache_bytes > 0)
    line += fmt::format(", {} {}", human_bytes(device.last_cache_bytes), cpu ? "L3" : "L2");
  return line + "\n";
}

std::string kernel_table(const DeviceInfo& device, const Problem& problem) {
  Table table({"    kernel", "version", fmt::format("for {}", to_string(problem))});
  bool chosen = false;
  for (const KernelStatus& row : kernel_status(device, problem)) {
    std::string verdict = row.why_not.empty() ? "usable" : "no: " + row.why_not;
    if (row.why_not.empty() && !chosen) {
      verdict = "chosen";
      chosen = true;
    }
    table.row({"    " + row.name, std::string(name(row.family)), verdict});
  }
  return table.text();
}

nlohmann::ordered_json json_of(const DeviceInfo& device, const std::vector<Problem>& problems) {
  nlohmann::ordered_json json = {{"kind", device.kind == DeviceKind::kCpu ? "cpu" : "cuda"},
                                 {"index", device.index},
                                 {"name", device.name},
                                 {"architecture", device.architecture},
                                 {"capability", device.capability},
                                 {"compute_units", device.compute_units},
                                 {"memory_bytes", device.memory_bytes},
                                 {"last_cache_bytes", device.last_cache_bytes},
                                 {"unusable", device.unusable}};
  if (!device.unusable.empty()) return json;
  json["problems"] = nlohmann::ordered_json::array();
  for (const Problem& problem : problems) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const KernelStatus& row : kernel_status(device, problem)) {
      rows.push_back({{"name", row.name},
                      {"version", name(row.family)},
                      {"usable", row.why_not.empty()},
                      {"why_not", row.why_not}});
    }
    json["problems"].push_back(
        {{"m", problem.m}, {"n", problem.n}, {"k", problem.k}, {"group_size", problem.group_size}, {"kernels", rows}});
  }
  return json;
}

bool any_cuda(const std::vector<DeviceInfo>& all) {
  for (const DeviceInfo& device : all) {
    if (device.kind == DeviceKind::kCuda) return true;
  }
  return false;
}

}  // namespace

int run_devices(Args& args) {
  Problem shape{.m = 0, .n = 4096, .k = 4096, .group_size = 128};
  args.about(
      "Lists the devices with the kernels each has for y (m, n) = x (m, k) W', W in 4 bits: usable, or the one reason "
      "why "
      "not. GEMV kernels serve one query (m = 1), GEMM kernels long prompts and batches.");
  args.section("the linear to ask about");
  args.count("-m,--tokens", "M", shape.m, "tokens at once; 0: both 1 and 512", {0, 1e9});
  args.count("-n,--out-features", "N", shape.n, "output features", {1, 1e9});
  args.count("-k,--in-features", "K", shape.k, "input features", {1, 1e9});
  args.count("--group-size,--group,--q_group_size", "G", shape.group_size, "input features that share a scale",
             {1, 1e9});
  args.example("awq devices", "everything, for a linear of 4096 x 4096");
  args.example("awq devices -m 1 -n 11008 -k 4096", "which kernel would run one token through this linear");
  args.finish();

  std::vector<Problem> problems;
  for (const int64_t m : {int64_t{1}, int64_t{512}}) {
    if (shape.m == 0 || problems.empty())
      problems.push_back({shape.m == 0 ? m : shape.m, shape.n, shape.k, shape.group_size});
  }
  const std::vector<DeviceInfo> all = devices();
  if (args.common().json) {
    nlohmann::ordered_json json = begin_json(args);
    for (const DeviceInfo& device : all) json["devices"].push_back(json_of(device, problems));
    answer_json(json);
    return 0;
  }
  for (const DeviceInfo& device : all) {
    answer(device_line(device));
    if (!device.unusable.empty()) continue;
    for (const Problem& problem : problems) answer(kernel_table(device, problem));
  }
  if (!any_cuda(all)) answer("cuda  none: this build has no CUDA backend\n");
  return 0;
}

}  // namespace awq::cli
