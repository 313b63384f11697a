// What every --json answer begins with, so that scripts can tell which tool, version and command line produced it.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace awq::cli {

class Args;

nlohmann::ordered_json begin_json(const Args&);
void answer_json(const nlohmann::ordered_json&);
std::string json_failure(int exit_code, const std::string& text);

}  // namespace awq::cli
