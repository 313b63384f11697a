#include <fmt/format.h>
#include <sys/utsname.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "awq/devices.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/json_answer.h"
#include "cli/numbers.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace awq::cli {
namespace {

// Variables that change what awq does. Tokens and other secrets are not among them.
constexpr const char* kVariables[] = {
    "HF_HOME",           "HF_HUB_CACHE",    "XDG_CACHE_HOME",  "HF_HUB_OFFLINE",  "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER", "AWQ_CUDA_PLUGIN", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "NO_COLOR"};

std::string describe(const DeviceInfo& device) {
  if (device.index < 0) return fmt::format("{}: {}", device.name, device.unusable);
  return fmt::format("{}, {}, {} units, {}{}{}", device.name, device.architecture, device.compute_units,
                     human_bytes(device.memory_bytes),
                     device.driver_version.empty() ? "" : ", driver " + device.driver_version,
                     device.unusable.empty() ? "" : ", " + device.unusable);
}

nlohmann::ordered_json facts(const Args& args) {
  nlohmann::ordered_json json = begin_json(args);
  utsname system{};
  uname(&system);
  json["compiler"] = AWQ_COMPILER;
  json["system"] = fmt::format("{} {} {}", system.sysname, system.release, system.machine);
  json["devices"] = nlohmann::ordered_json::array();
  for (const DeviceInfo& device : devices()) {
    json["devices"].push_back(describe(device));
  }
  json["environment"] = nlohmann::ordered_json::object();
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name)) json["environment"][name] = value;
  }
  return json;
}

}  // namespace

int run_env(Args& args) {
  args.example("awq env --json",
               "attach this to a bug report; it holds no secrets and no file names but cache folders");
  args.finish();
  const nlohmann::ordered_json json = facts(args);
  if (args.common().json) {
    answer_json(json);
    return 0;
  }
  Table table({"awq", fmt::format("{} (commit {})", version_number(), version_commit())});
  table.row({"compiler", json["compiler"]});
  table.row({"system", json["system"]});
  for (const auto& device : json["devices"]) table.row({"device", device});
  for (const auto& [name, value] : json["environment"].items()) table.row({name, value});
  answer(table.text());
  return 0;
}

}  // namespace awq::cli
