// Puts the finished checkpoint together: shards, index, config.json, tokenizer files, side file, report.
#pragma once
#include <filesystem>
#include <functional>

#include "awq/quantize.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "quant/plan.h"
#include "quant/work_folder.h"

namespace awq::quant {

inline constexpr const char* kReportFile = "awq_report.json";

// Writes everything into `folder` (the partial output). `settings` is the job's JSON, kept in the report file, which
// holds nothing that differs between two runs of the same job. `poll` is called between tensors and may throw.
void assemble(const io::Checkpoint&, const model::ModelConfig&, const QuantizeOptions&, const Plan&, const WorkFolder&,
              const QuantizeReport&, const std::string& settings, const std::filesystem::path& folder,
              const std::function<void()>& poll);

}  // namespace awq::quant
