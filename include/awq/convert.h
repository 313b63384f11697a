// A 4-bit checkpoint from one packed layout to another; the weights stay what they are, bit for bit.
#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "awq/config.h"

namespace awq {

struct ConvertProgress {
  std::string tensor;  // the one about to be written
  uint64_t bytes_done = 0, bytes_total = 0;
};

struct ConvertOptions {
  std::string model;          // 4-bit checkpoint: folder, or org/name in the local Hugging Face cache
  std::filesystem::path out;  // folder to create
  Layout to = Layout::kGemm;
  bool force = false;  // replace an existing output
  uint64_t max_shard_bytes = 5'000'000'000;
  std::function<void(const ConvertProgress&)> progress;
  const std::atomic<int>* stop = nullptr;  // set to a signal number: stop before the next tensor, leave nothing behind
};

struct ConvertReport {
  std::filesystem::path out;
  Layout from = Layout::kGemm, to = Layout::kGemm;
  int64_t linears = 0;  // repacked; all other tensors are copied byte for byte
  uint64_t bytes_in = 0, bytes_out = 0;
  double seconds = 0;
};

// One linear is in memory at a time. Throws Error: kBadInput when the model is not quantized, a linear is damaged or
// does not fit the layout, kExists and kUsage for the output folder, kNoRoom when the disk does not suffice.
ConvertReport convert(const ConvertOptions&);

}  // namespace awq
