// Sequences that advance together, each by its most likely token: what `awq bench MODEL` times.
#pragma once
#include <cstdint>
#include <vector>

#include "backend/device.h"

namespace awq::bench {

class Together {
 public:
  Together(backend::Executor& executor, int64_t batch);
  void start(int64_t prompt, int generate);  // empty contexts, with room for so many tokens
  void read_prompts();
  void step();

 private:
  void advance();

  backend::Executor* executor_;
  std::vector<backend::TokenDraw> draws_;
  std::vector<int32_t> ids_, last_;
  std::vector<int> slots_;
  std::vector<std::vector<int32_t>> prompts_;
  std::vector<backend::SequenceInput> inputs_;
  std::vector<float> logits_;
};

}  // namespace awq::bench
