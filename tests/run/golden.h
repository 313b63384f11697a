// Models with golden logits, which live beside the repository and not in it.
#pragma once
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "backend/device.h"
#include "io/checkpoint.h"
#include "io/safetensors.h"
#include "source_dir.h"

namespace awq::test {

template <class T>
std::vector<T> read_tensor(const io::SafetensorsFile& file, const std::string& name) {
  const io::TensorInfo& info = *file.find(name);
  std::vector<T> out(info.bytes() / sizeof(T));
  file.read(info, 0, std::as_writable_bytes(std::span(out)));
  return out;
}

struct Golden {  // two sequences of 48 tokens
  static constexpr int64_t kSequences = 2, kTokens = 48;
  explicit Golden(const std::filesystem::path& folder)
      : file(folder / "golden.safetensors"),
        ids(read_tensor<int32_t>(file, "input_ids")),
        logits(read_tensor<float>(file, "logits")) {}
  std::span<const int32_t> sequence(int s) const { return std::span(ids).subspan(s * kTokens, kTokens); }
  io::SafetensorsFile file;
  std::vector<int32_t> ids;   // (2, 48)
  std::vector<float> logits;  // (2, 48, vocab)
};

struct Loaded {
  explicit Loaded(const std::filesystem::path& folder, backend::ExecutorOptions options = {.slots = 2},
                  const char* name = "cpu")
      : checkpoint(folder),
        config(model::parse_config(checkpoint.config_text(), folder.string())),
        device(backend::open_device(name)),
        executor(device->load_executor(checkpoint, config, options)) {}
  io::Checkpoint checkpoint;
  model::ModelConfig config;
  std::unique_ptr<backend::Device> device;
  std::unique_ptr<backend::Executor> executor;

  // Appends to the slot; logits of every new token.
  std::vector<float> forward(int slot, std::span<const int32_t> tokens) const {
    std::vector<float> out(tokens.size() * config.vocab);
    const backend::SequenceInput input{slot, tokens, true};
    executor->forward({&input, 1}, {out.data(), std::ssize(tokens), config.vocab});
    return out;
  }
};

inline double largest_difference(std::span<const float> a, std::span<const float> b) {
  double worst = a.size() == b.size() ? 0 : 1e30;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max<double>(worst, std::abs(double{a[i]} - b[i]));
  return worst;
}

}  // namespace awq::test
