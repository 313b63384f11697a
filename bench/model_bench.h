// `awq bench MODEL`: a whole model, from the prompt to the last token, for one sequence and for several together, with
// each kernel version; beside what this machine's memory and its dense products allow. The same code for every backend.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backend/device.h"

namespace awq::bench {

struct ModelBenchOptions {
  std::string model, device = "auto";
  std::vector<int64_t> prompts = {128};  // tokens of every sequence's prompt
  std::vector<int64_t> batches = {1};    // sequences together
  std::vector<std::string> versions = {"gemv", "gemm", "auto"};
  int generate = 64, repeat = 3;
  double cell_seconds = 0;  // a cell is not run again after so long; 0 = `repeat` decides alone
  int threads = 0;
  bool in_turn = false;  // all versions loaded at once, and run by run in turn
  bool ignore_salient = false, stages = false;
  double read_bytes_per_s = 0;                 // of the device, measured; 0 = not known
  std::map<int64_t, double> dense_flop_per_s;  // fp16 product of a prompt's size, by tokens, where it was measured
  std::string commit = "unknown";
  std::function<void(const std::string& what)> progress;
  const std::atomic<int>* stop = nullptr;
};

// One version, prompt length and number of sequences: a cell of the table.
struct ModelTiming {
  std::string version, kernels;
  int64_t prompt = 0, batch = 1;
  std::vector<double> first_token = {}, step = {};  // seconds: one a run; one for each further token of all sequences
  uint64_t step_bytes = 0;    // weights once, keys and values of every sequence at half of what is generated
  uint64_t memory_bytes = 0;  // on a device of its own, after the run
  double load_seconds = 0;    // of this version's model
  std::vector<backend::StageTime> stages = {};

  double percentile(double p) const;  // of `step`
  double tokens_per_s() const;        // of all sequences, at the median
  double median_first_token() const;
};

struct ModelBenchReport {
  std::string model, device, architecture, commit, date;
  int generate = 0, repeat = 0;
  double read_bytes_per_s = 0;
  std::map<int64_t, double> dense_flop_per_s;  // by tokens of the prompt
  double linear_flop_a_token = 0;              // 2 n k of the linears in the blocks
  std::vector<ModelTiming> timings;
  std::vector<std::string> refusals;  // versions that do not run here, and why

  // Least time of a step whose bytes come from memory; 0 where the bandwidth is not known.
  double floor_seconds(const ModelTiming&) const;
  double share_of_floor(const ModelTiming&) const;
  double prompt_flop_per_s(const ModelTiming&) const;
  double share_of_dense(const ModelTiming&) const;  // the prompt's rate by the fp16 product's; 0 where not known
};

// Error(kInterrupted) when stopped.
ModelBenchReport measure_model(const ModelBenchOptions&);

}  // namespace awq::bench
