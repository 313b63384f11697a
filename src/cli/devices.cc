#include "awq/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "awq/error.h"
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

// The row that select_kernel() takes; empty when there is none, and then each row's reason says why.
std::string chosen_kernel(const DeviceInfo& device, const Problem& problem) {
  try {
    return select_kernel(device, problem);
  } catch (const Error&) {
    return {};
  }
}

// A row a kernel, a column a problem.
std::string kernel_table(const DeviceInfo& device, const std::vector<Problem>& problems) {
  std::vector<std::string> headers = {"    kernel", "version"};
  for (const Problem& problem : problems) headers.push_back(to_string(problem));
  std::vector<std::vector<std::string>> rows;
  for (const KernelStatus& row : kernel_status(device, problems.front())) {
    rows.push_back({"    " + row.name, std::string(name(row.family))});
  }
  for (const Problem& problem : problems) {
    const std::string chosen = chosen_kernel(device, problem);
    const std::vector<KernelStatus> status = kernel_status(device, problem);
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string usable = status[i].name == chosen ? "chosen" : "usable";
      rows[i].push_back(status[i].why_not.empty() ? usable : "no: " + status[i].why_not);
    }
  }
  Table table(std::move(headers));
  for (std::vector<std::string>& row : rows) table.row(std::move(row));
  return table.text();
}

nlohmann::ordered_json json_of(const DeviceInfo& device, const Problem& problem) {
  nlohmann::ordered_json json = {
      {"m", problem.m}, {"n", problem.n}, {"k", problem.k}, {"group_size", problem.group_size}};
  json["chosen"] = chosen_kernel(device, problem);
  for (const KernelStatus& row : kernel_status(device, problem)) {
    json["kernels"].push_back(
        {{"name", row.name}, {"version", name(row.family)}, {"usable", row.why_not.empty()}, {"why_not", row.why_not}});
  }
  return json;
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
  for (const Problem& problem : problems) json["problems"].push_back(json_of(device, problem));
  return json;
}

bool any_cuda(const std::vector<DeviceInfo>& all) {
  return std::ranges::any_of(all, [](const DeviceInfo& device) { return device.kind == DeviceKind::kCuda; });
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

  const std::vector<int64_t> tokens = shape.m == 0 ? std::vector<int64_t>{1, 512} : std::vector{shape.m};
  std::vector<Problem> problems;
  for (const int64_t m : tokens) problems.push_back({m, shape.n, shape.k, shape.group_size});
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
    answer(kernel_table(device, problems));
  }
  if (!any_cuda(all)) answer("cuda  none: this build has no CUDA backend\n");
  return 0;
}

}  // namespace awq::cli
