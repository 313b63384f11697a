// The main job: a Hugging Face checkpoint in, an AWQ checkpoint out.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "awq/config.h"

namespace awq {

struct CalibrationSource {
  std::string path;  // .txt, .jsonl[.gz|.zst], a folder of those, "-" for stdin, "" for the built-in sample
  std::string text_column = "text";  // for .jsonl
  // Instead of `path`, what is in memory already:
  std::vector<std::string> documents = {};
  std::vector<std::vector<int32_t>> tokens = {};  // documents that are encoded already, joined like texts
};

struct QuantizeProgress {
  std::string stage;  // "calibrate", "search", "clip", "pack", "assemble" ...
  int block = 0, blocks = 0;
  double seconds = 0, eta_seconds = -1;  // -1: not known yet
  std::string note;                      // one line worth printing, or empty
};

inline constexpr int64_t kPadAuto = -1;

struct QuantizeOptions {
  std::string model;          // folder, or org/name in the local Hugging Face cache
  std::filesystem::path out;  // folder to create
  QuantConfig config;
  std::vector<CalibrationSource> calib;  // empty = the built-in sample; several are mixed evenly
  int samples = 128;                     // windows ...
  int seqlen = 512;                      // ... of so many tokens
  // Numbers of GPUs that vLLM or SGLang will serve the checkpoint on: checked before any work. Empty: not checked.
  std::vector<int> serve_tp;
  // Zero-pads the MLP to this intermediate size; 0: left as it is; kPadAuto: the least that serves on serve_tp.
  int64_t pad_intermediate = 0;
  Search search = Search::kBoth;
  Objective objective = Objective::kGram;
  bool clip = true;
  double keep_fp16 = 0;  // fraction of input channels of each linear with an fp16 correction, 0 .. 0.03
  SalientBy salient_by = SalientBy::kActivation;
  std::string device = "auto";  // "cpu", "cuda", "cuda:1"; auto: the first GPU that can be used, else the CPU
  int batch = 0;  // windows of text in flight on a GPU; 0 = its own choice; the output does not depend on it
  // Bytes of a GPU's memory that may be taken; 0 = what is free. With less than a block needs, its weights come linear
  // by linear. The output does not depend on it.
  uint64_t gpu_memory = 0;
  int threads = 0;     // 0 = all cores; the output does not depend on it
  uint64_t seed = 42;  // for SalientBy::kRandom and the mixing of sources
  uint64_t max_shard_bytes = 5'000'000'000;
  std::filesystem::path work_dir;  // empty = beside the output
  bool force = false;              // replace an existing output
  bool resume = false;             // continue from the work folder of a stopped run
  std::filesystem::path trace;     // empty, or a file to write: what happened when, for chrome://tracing or Perfetto
  bool dry_run = false;            // plan only: nothing is computed and nothing is written
  std::function<void(const QuantizeProgress&)> progress;
  const std::atomic<int>* stop = nullptr;  // set to a signal number: stop after the step at hand, resumable
};

struct LinearReport {
  std::string name;               // "model.layers.3.mlp.down_proj"
  double rtn_loss = 0, loss = 0;  // mean squared output error, plain rounding / as written; loss <= rtn_loss
  std::string chosen;             // "identity", "paper 0.45", "duo 0.80"
  int dead_channels = 0;          // input channels that no calibration token excites
  std::string warning;            // empty, or what was not finite and what was done instead
};

// Reading, computing and writing overlap: the stages of one track follow each other, the tracks run side by side.
struct StageSeconds {
  std::string track;  // "read", "compute", "write", "outer": embeddings and head, "calibrate": within compute's
  std::string stage;  // "calibrate", "search", "wait for reading" ...
  double seconds = 0;
};

struct QuantizeReport {
  std::filesystem::path out;
  uint64_t tokens = 0;    // calibration tokens used
  std::string data_hash;  // of the token stream, hex
  uint64_t bytes_in = 0, bytes_out = 0;
  double bits_per_weight = 0;  // of the quantized linears, scales and zero points counted in
  double seconds = 0;  // with dry_run: estimated, from the work to do and the rate of this machine's float32 products
  uint64_t peak_rss_bytes = 0;
  std::string device;                // what computed: "cuda:0 (NVIDIA H200)"
  std::vector<StageSeconds> stages;  // empty with dry_run
  std::vector<LinearReport> linears;
  std::vector<std::string> warnings;
  // The plan, also without dry_run:
  uint64_t planned_memory_bytes = 0, planned_disk_bytes = 0;
  uint64_t planned_device_bytes = 0;   // of the GPU; 0 on the CPU
  bool streams_linears = false;        // the GPU holds one linear at a time, not a block
  std::vector<std::string> kept_fp16;  // modules that are not quantized
};

// Throws Error; on failure or stop the work folder stays and `resume` continues it to the same bytes.
QuantizeReport quantize(const QuantizeOptions&);

}  // namespace awq
