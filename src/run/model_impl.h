// What a Model holds; evaluate() reaches it as generate() does.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "awq/model.h"
#include "backend/device.h"
#include "io/tokenizer/tokenizer.h"
#include "model/config.h"

namespace awq {

struct Model::Impl {
  // Sequences that evaluate() runs together; each costs memory only while it holds tokens.
  static constexpr int kSlots = 8;

  std::filesystem::path folder;
  LoadOptions options;
  model::ModelConfig config;
  std::vector<int32_t> eos;
  std::optional<io::Tokenizer> tokenizer_;  // a folder without tokenizer.json still gives logits
  std::unique_ptr<backend::Device> device;
  std::unique_ptr<backend::Executor> executor;
  std::mutex in_use;  // whoever lets the executor run holds it, from reset() to the last forward()

  const io::Tokenizer& tokenizer() const;  // Error(kBadInput) when the folder has none
};

}  // namespace awq
