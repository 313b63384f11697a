#include "awq/devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "awq/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/json_answer.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

constexpr int kTokensOfBoth[] = {1, 512};  // one query, and a prompt

struct Request {
  Problem shape{.m = 0, .n = 4096, .k = 4096, .group_size = 128};
  std::string assume;  // "7.5,8.0"
};

std::string label_of(const DeviceInfo& device) {
  return device.kind == DeviceKind::kCpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

std::string cpu_facts(const DeviceInfo& device) {
  std::string text = fmt::format("{}, {}, {} cores, {} memory", device.name, device.architecture, device.compute_units,
                                 human_bytes(device.memory_bytes));
  if (device.last_cache_bytes > 0) text += fmt::format(", {} L3", human_bytes(device.last_cache_bytes));
  return text;
}

// A fact that the driver did not tell is left out.
std::string cuda_facts(const DeviceInfo& device) {
  std::string text = fmt::format("{}, {}, compute capability {}.{}", device.name, device.architecture,
                                 device.capability / 10, device.capability % 10);
  if (device.compute_units > 0) text += fmt::format(", {} multiprocessors", device.compute_units);
  if (device.mig) text += ", a MIG slice";
  std::vector<std::string> memory;
  if (device.memory_bytes > 0) memory.push_back(human_bytes(device.memory_bytes) + " memory");
  if (device.memory_bandwidth > 0)
    memory.push_back(fmt::format("{:.0f} GB/s by clock and bus width", device.memory_bandwidth / 1e9));
  if (device.last_cache_bytes > 0) memory.push_back(human_bytes(device.last_cache_bytes) + " L2");
  if (device.smem_per_block > 0)
    memory.push_back(fmt::format("{} KiB shared memory a block", device.smem_per_block >> 10));
  if (!device.driver_version.empty()) memory.push_back("driver " + device.driver_version);
  if (device.driver_cuda_version > 0)
    memory.push_back(
        fmt::format("CUDA {}.{}", device.driver_cuda_version / 1000, device.driver_cuda_version % 1000 / 10));
  return memory.empty() ? text : fmt::format("{}\n    {}", text, fmt::join(memory, ", "));
}

std::string device_text(const DeviceInfo& device, const std::string& label) {
  if (device.index < 0) return fmt::format("cuda  none: {}\n", device.unusable);
  const std::string facts = device.kind == DeviceKind::kCpu ? cpu_facts(device) : cuda_facts(device);
  const std::string verdict = device.unusable.empty() ? "" : fmt::format("    not usable: {}\n", device.unusable);
  return fmt::format("{}  {}\n{}", label, facts, verdict);
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

nlohmann::ordered_json json_of(const DeviceInfo& device, const std::vector<Problem>& problems, bool assumed) {
  nlohmann::ordered_json json = {{"kind", device.kind == DeviceKind::kCpu ? "cpu" : "cuda"},
                                 {"index", device.index},
                                 {"assumed", assumed},
                                 {"name", device.name},
                                 {"architecture", device.architecture},
                                 {"capability", device.capability},
                                 {"compute_units", device.compute_units},
                                 {"memory_bytes", device.memory_bytes},
                                 {"last_cache_bytes", device.last_cache_bytes},
                                 {"unusable", device.unusable}};
  if (device.kind == DeviceKind::kCuda) {
    json["smem_per_block"] = device.smem_per_block;
    json["memory_bandwidth"] = device.memory_bandwidth;
    json["driver_version"] = device.driver_version;
    json["driver_cuda_version"] = device.driver_cuda_version;
    json["mig"] = device.mig;
    json["uuid"] = device.uuid;
  }
  if (!device.unusable.empty()) return json;
  for (const Problem& problem : problems) json["problems"].push_back(json_of(device, problem));
  return json;
}

// "7.5,8.0"
std::vector<DeviceInfo> assumed_devices(const std::string& list) {
  std::vector<DeviceInfo> assumed;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) assumed.push_back(assumed_device(part));
  for (size_t i = 0; i < assumed.size(); ++i) assumed[i].index = static_cast<int>(i);
  return assumed;
}

std::vector<Problem> problems_of(const Problem& shape) {
  Problem problem = shape;
  if (problem.group_size == 0)
    throw Error(ErrorKind::kUsage, "--group-size 0: give a number, or -1 for one group a row");
  if (problem.group_size == -1) problem.group_size = static_cast<int>(std::min<int64_t>(problem.k, INT32_MAX));
  if (problem.m > 0) return {problem};
  std::vector<Problem> problems;
  for (const int m : kTokensOfBoth) {
    problem.m = m;
    problems.push_back(problem);
  }
  return problems;
}

// What changes the list of GPUs without being seen in it.
void note_environment(const std::vector<DeviceInfo>& all) {
  std::set<int> capabilities;
  for (const DeviceInfo& device : all)
    if (device.kind == DeviceKind::kCuda && device.index >= 0) capabilities.insert(device.capability);
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible != nullptr && !capabilities.empty())
    note(fmt::format("CUDA_VISIBLE_DEVICES='{}' is set: GPUs that it leaves out are not listed", visible));
  if (capabilities.size() > 1 && std::getenv("CUDA_DEVICE_ORDER") == nullptr)
    note("the GPUs differ: CUDA numbers the fastest first; CUDA_DEVICE_ORDER=PCI_BUS_ID gives the order of nvidia-smi");
}

void answer_devices(const Args& args, const std::vector<DeviceInfo>& all, const std::vector<Problem>& problems,
                    bool assumed) {
  if (args.common().json) {
    nlohmann::ordered_json json = begin_json(args);
    for (const DeviceInfo& device : all) json["devices"].push_back(json_of(device, problems, assumed));
    return answer_json(json);
  }
  for (const DeviceInfo& device : all) {
    answer(device_text(device, assumed ? "assumed" : label_of(device)));
    if (device.unusable.empty()) answer(kernel_table(device, problems));
  }
}

}  // namespace

int run_devices(Args& args) {
  Request request;
  Problem& shape = request.shape;
  args.about(
      "Lists the devices with the kernels each has for y (m, n) = x (m, k) W', W in 4 bits: usable, or the one reason "
      "why not. GEMV kernels serve one query (m = 1), GEMM kernels long prompts and batches.");
  args.section("the linear to ask about");
  args.count("-m,--tokens", "M", shape.m, "tokens at once; 0: both 1 and 512", {0, 1e9});
  args.count("-n,--out-features", "N", shape.n, "output features", {1, 1e9});
  args.count("-k,--in-features", "K", shape.k, "input features", {1, 1e9});
  args.count("--group-size,--group,--q_group_size", "G", shape.group_size,
             "input features that share a scale; -1: all of K", {-1, 1e9});
  args.flag("--bf16", shape.bf16, "activations in bfloat16, not float16 (GPUs)");
  args.section("a GPU that is not here");
  args.text("--assume", "CAPABILITY,...", request.assume,
            "instead of this machine: what a card of compute capability 8.6 (or sm_86) would run");
  args.example("awq devices", "everything, for a linear of 4096 x 4096");
  args.example("awq devices -m 1 -n 11008 -k 4096", "which kernel would run one token through this linear");
  args.example("awq devices --assume 7.5,8.6,9.0", "what a T4, an RTX 3090 and an H100 would run");
  args.finish();

  const bool assumed = !request.assume.empty();
  const std::vector<DeviceInfo> all = assumed ? assumed_devices(request.assume) : devices();
  answer_devices(args, all, problems_of(shape), assumed);
  if (!assumed) note_environment(all);
  return 0;
}

}  // namespace awq::cli
