#include "backend/device.h"

#include <fmt/format.h>

#include <algorithm>

#include "awq/error.h"
#include "core/checked.h"
#include "model/architectures.h"

namespace awq::backend {

const FloatTensor* FloatBlock::find(std::string_view name) const {
  for (const FloatTensor& t : tensors)
    if (t.name == name) return &t;
  return nullptr;
}

FloatTensor* FloatBlock::find(std::string_view name) {
  return const_cast<FloatTensor*>(static_cast<const FloatBlock*>(this)->find(name));
}

namespace {

void check_token(int32_t id, int64_t vocab) {
  if (id >= 0 && id < vocab) return;
  throw Error(
      ErrorKind::kBadInput,
      fmt::format("token id {} is outside the model's vocabulary of {}: was the text encoded with the tokenizer of "
                  "another model?",
                  id, vocab));
}

}  // namespace

void check_inputs(const Executor& executor, std::span<const SequenceInput> inputs, int64_t capacity, int64_t rows) {
  int64_t wanted = 0;
  for (const SequenceInput& in : inputs) {
    AWQ_ASSERT(!in.tokens.empty());
    AWQ_ASSERT(std::ranges::count(inputs, in.slot, &SequenceInput::slot) == 1);
    const int64_t total = executor.length(in.slot) + std::ssize(in.tokens);
    if (total > capacity)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("a context of {} tokens exceeds the {} that this model can hold: shorten the "
                              "prompt or ask for fewer new tokens",
                              total, capacity));
    for (const int32_t id : in.tokens) check_token(id, executor.config().vocab);
    wanted += in.all_logits ? std::ssize(in.tokens) : 1;
  }
  AWQ_ASSERT(wanted == rows);
}

Error not_finite(int64_t layer, std::string_view tensor, uint64_t count, uint64_t first) {
  return Error(ErrorKind::kBadInput,
               fmt::format("tensor '{}{}' holds {} values that are not finite, the first at element {}: "
                           "the checkpoint is damaged",
                           model::block_prefix(layer), tensor, count, first));
}

}  // namespace awq::backend
