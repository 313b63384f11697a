// The end of a quantization, for people and for programs.
#pragma once
#include <string>

#include "awq/quantize.h"

namespace awq::cli {

class Args;

std::string report_text(const QuantizeOptions&, const QuantizeReport&);
std::string plan_text(const QuantizeOptions&, const QuantizeReport&);  // of --dry-run
void answer_json_report(const Args&, const QuantizeOptions&, const QuantizeReport&);

}  // namespace awq::cli
