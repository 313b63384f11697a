// Puts the finished checkpoint together: shards, index, config.json, tokenizer files, side file, report.
#pragma once
#include <filesystem>
#include <functional>

#include "awq/quantize.h"
#include "io/checkpoint.h"
#include "model/config.h"
#include "quant/plan.h"
#include "quant/shard_files.h"

namespace awq::quant {

inline constexpr const char* kReportFile = "awq_report.json";

// The weights files of the output, and with keep_fp16 the side file.
std::vector<io::Shard> planned_shards(const Plan&, const QuantizeOptions&);

// Writes the tensors outside the blocks, converted to fp16. `poll` is called between slices and may throw.
void write_outer(const io::Checkpoint&, const model::ModelConfig&, ShardFiles&, const std::function<void()>& poll);

// Puts everything into `folder` (the partial output). `settings` is the job's JSON, kept in the report file, which
// holds nothing that differs between two runs of the same job.
void assemble(const io::Checkpoint&, const model::ModelConfig&, const QuantizeOptions&, const ShardFiles&,
              const QuantizeReport&, const std::string& settings, const std::filesystem::path& folder);

}  // namespace awq::quant
