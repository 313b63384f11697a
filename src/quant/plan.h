// What a run will write and need, from headers alone: the tensors of the output, memory, disk; and every reason to
// refuse.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "awq/quantize.h"
#include "backend/device.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "model/config.h"

namespace awq::quant {

struct Plan {
  std::vector<io::TensorSpec> tensors;  // of the output, in the order of the model
  std::vector<io::TensorSpec> salient;  // of the side file, only with keep_fp16
  std::vector<std::string> kept_fp16;   // linears that are not quantized, lm_head and embeddings among them
  uint64_t bytes_in = 0, bytes_out = 0;
  uint64_t memory_bytes = 0;   // estimated peak of the process, which the backend fills in
  uint64_t disk_bytes = 0;     // output and work folder together, which share their files on one disk
  double bits_per_weight = 0;  // of the quantized linears
  std::vector<std::string> warnings;
  double flops = 0;  // of calibration, search and clipping, nearly all in float32 products
};

// Error(kBadInput) when a tensor is missing or of another shape than config.json implies, when a width is not divisible
// by the group size (naming the layers and the group sizes that fit) or does not fit the layout; Error(kUsage) for
// options out of range, or when it could not be served on one of serve_tp GPUs, with the remedies. `config` is that of
// the checkpoint, before any padding.
Plan make_plan(const io::Checkpoint&, const model::ModelConfig&, const QuantizeOptions&);

// Error(kNoRoom) with the number, the biggest contributor and the options that lower it, when this machine has less.
void check_room(const Plan&, const QuantizeOptions&, const std::filesystem::path& disk_folder);
std::string why_no_device_room(const backend::QuantMemory&, const QuantizeOptions&);  // empty: there is

}  // namespace awq::quant
