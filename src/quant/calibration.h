// From text to the token windows that calibration runs on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "awq/quantize.h"

namespace awq::quant {

struct CalibrationTokens {
  std::vector<int32_t> ids;  // (windows, window)
  int64_t windows = 0, window = 0;
  std::string hash;  // XXH3-128 of the ids, hex: recognises the data on resume, and is stored in the output
  std::vector<std::string> warnings;
};

// Documents are encoded without special tokens, joined and cut into windows of `seqlen`; the first ones are used,
// several sources in turn. `folder` holds the tokenizer. Error(kBadInput) with counts when a source has no text or too
// little for one window, or when a token id is not below `vocab` (the tokenizer of another model).
CalibrationTokens load_calibration(const std::filesystem::path& folder, const QuantizeOptions&, int64_t vocab);

}  // namespace awq::quant
