// The part of `awq bench` that runs a whole model.
#pragma once
#include <string>

#include "awq/model.h"
#include "cli/args.h"

namespace awq::cli {

struct ModelBenchRequest {
  std::string model, prompts = "128", batches = "1", versions = "gemv,gemm,auto";
  int generate = 64, repeat = 3;
  float cell_seconds = 0;
  bool in_turn = false, stages = false;
  LoadOptions load;
};

void declare_model_bench(Args&, ModelBenchRequest&);

// `csv`, `html`: files or folders to write, or empty.
int run_model_bench(const Args&, const ModelBenchRequest&, const std::string& csv, const std::string& html);

}  // namespace awq::cli
