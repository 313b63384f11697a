#include "cli/json_answer.h"

#include <nlohmann/json.hpp>

#include "cli/args.h"
#include "cli/terminal.h"
#include "cli/version.h"

namespace awq::cli {
namespace {

constexpr int kSchemaVersion = 1;  // rises when a key changes its meaning or goes away

nlohmann::ordered_json head() {
  return {
      {"schema_version", kSchemaVersion}, {"tool", "awq"}, {"version", version_number()}, {"commit", version_commit()}};
}

// Paths need not be UTF-8; JSON must be.
std::string dump(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

nlohmann::ordered_json begin_json(const Args& args) {
  nlohmann::ordered_json json = head();
  json["command"] = args.page().command;
  json["command_line"] = args.command_line();
  return json;
}

void answer_json(const nlohmann::ordered_json& json) { answer(dump(json)); }

std::string json_failure(int exit_code, const std::string& text) {
  nlohmann::ordered_json json = head();
  json["error"] = {{"exit_code", exit_code}, {"message", text}};
  return dump(json);
}

}  // namespace awq::cli
