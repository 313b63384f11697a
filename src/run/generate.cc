#include <algorithm>
#include <chrono>
#include <utility>

#include "awq/error.h"
#include "run/model_impl.h"
#include "run/sampler.h"
#include "run/text_stream.h"

namespace awq {
namespace {

constexpr int kSlot = 0;  // the executor's context that a text lives in

class Stopwatch {
 public:
  double lap() {  // seconds since the last lap
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - std::exchange(last_, now)).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::vector<int32_t> started(std::span<const int32_t> prompt, const model::ModelConfig& config) {
  if (!prompt.empty()) return {prompt.begin(), prompt.end()};
  if (!config.bos.empty()) return {config.bos.front()};
  throw Error(ErrorKind::kBadInput, "the prompt is empty and config.json names no bos_token_id to begin with");
}

// Appends the tokens and chooses the next one, where the logits are if the executor can.
int32_t next_token(backend::Executor& executor, std::span<const int32_t> tokens, run::Sampler& sample,
                   std::vector<float>& logits) {
  const backend::SequenceInput input{.slot = kSlot, .tokens = tokens};
  const backend::TokenDraw draw = sample.next_draw();
  int32_t drawn = 0;
  if (executor.next_tokens({&input, 1}, {&draw, 1}, {&drawn, 1})) return sample.accept(drawn);
  logits.resize(executor.config().vocab);
  executor.forward({&input, 1}, {logits.data(), 1, std::ssize(logits)});
  return sample(logits);
}

bool asked_to_stop(const std::atomic<int>* stop) { return stop != nullptr && stop->load() != 0; }

}  // namespace

std::vector<int32_t> Model::generate(std::span<const int32_t> prompt_ids, const SamplingOptions& options,
                                     const std::function<void(std::string_view)>& on_text, GenerateTiming* timing,
                                     const std::atomic<int>* stop) const {
  const std::vector<int32_t> prompt = started(prompt_ids, impl_->config);
  const int64_t room = std::max<int64_t>(1, impl_->config.max_positions - std::ssize(prompt) + 1);
  const int64_t limit = std::clamp<int64_t>(options.max_new_tokens, 0, room);
  backend::Executor& executor = *impl_->executor;
  run::Sampler sample(options, impl_->config.vocab);
  run::TextStream stream([&](std::span<const int32_t> ids) { return on_text ? decode(ids) : std::string(); }, prompt);
  const auto emit = [&](const std::string& text) {
    if (on_text && !text.empty()) on_text(text);
  };

  GenerateTiming times;
  times.prompt_tokens = static_cast<int>(prompt.size());
  times.token_seconds.reserve(limit);
  std::vector<float> logits;  // where the executor leaves the choice to us
  std::vector<int32_t> out;
  out.reserve(limit);
  const std::lock_guard turn(impl_->in_use);
  executor.reset(kSlot);
  executor.reserve({&kSlot, 1}, std::ssize(prompt) + limit);
  Stopwatch watch;
  while (std::ssize(out) < limit && !asked_to_stop(stop)) {
    const std::span<const int32_t> tokens = out.empty() ? prompt : std::span<const int32_t>(&out.back(), 1);
    out.push_back(next_token(executor, tokens, sample, logits));
    const double seconds = watch.lap();
    if (options.on_token) options.on_token(out.back());
    if (out.size() == 1)
      times.first_token_seconds = seconds;
    else
      times.token_seconds.push_back(seconds);
    if (options.stop_at_eos && std::ranges::count(impl_->eos, out.back()) > 0) break;
    emit(stream.add(out.back()));
  }
  emit(stream.finish());
  times.new_tokens = static_cast<int>(out.size());
  if (timing != nullptr) *timing = times;
  return out;
}

}  // namespace awq
