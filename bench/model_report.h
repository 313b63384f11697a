// The figures of model_bench.h for a terminal, a spreadsheet, a program and a browser.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "bench/model_bench.h"

namespace awq::bench {

std::string table_text(const ModelBenchReport&);
std::string csv_text(const ModelBenchReport&);
nlohmann::ordered_json as_json(const ModelBenchReport&);
std::string html_page(const ModelBenchReport&);

}  // namespace awq::bench
