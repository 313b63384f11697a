// Writes a checkpoint of a published model's shape with random weights: what takes time, memory and disk does so as
// with the real one, what it says is noise. The weights, as spread as a large model's are:
//
//   linears      normal, standard deviation 1 / sqrt(inputs): 0.016 for 4096 of them; biases 1
//   embeddings   normal, 0.02
//   norms        normal around 1, 0.05
//   quantized    codes uniform, zero points 7 or 8, scales such that linears are as wide as above
//   outliers     0.5 % of the inputs of every linear in a block are 16 times as large as the others, because that share
//                of what the linear's scale can be folded into is: of the norm's weights, of the rows of v_proj and
//                up_proj. All norms have the same ones, as the residual stream of a large model does (Dettmers et
//                al., LLM.int8(), 2022). Plain rounding suffers from them.
//
// An element depends on the seed, the tensor's name and its place alone: a model cut to fewer layers has the first
// blocks of the whole one, byte for byte.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "core/dtype.h"

namespace awq::tools {

inline constexpr double kOutlierShare = 0.005, kOutlierGain = 16;

struct MakeOptions {
  std::string like;            // a row of shapes.cc
  std::filesystem::path out;   // folder to create
  int64_t layers = 0;          // the first so many blocks; 0 = all
  Dtype dtype = Dtype::kBF16;  // or kF16
  bool quantized = false;      // AWQ, layout gemm, groups of 128: random codes instead of weights to be quantized
  uint64_t seed = 0;
  uint64_t max_shard_bytes = 5'000'000'000;
  int threads = 0;     // 0 = all cores; the output does not depend on it
  bool force = false;  // replace an existing output
  std::function<void(const std::string& file, uint64_t bytes)> on_shard;  // before a file is written
};

struct MakeReport {
  int64_t layers = 0, parameters = 0;
  uint64_t bytes = 0;
  int files = 0;
};

// Needs some 110 MB of memory, whatever the size of the tensors: they are made and written 32 MiB at a time.
MakeReport make_checkpoint(const MakeOptions&);

}  // namespace awq::tools
