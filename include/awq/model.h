// Run a checkpoint, original or AWQ: generate text, score text, time a query.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace awq {

struct LoadOptions {
  std::string version = "auto";  // kernel family or row for the quantized linears, see select_kernel()
  std::string device = "auto";   // "cpu", "cuda", "cuda:1"
  int threads = 0;               // 0 = all cores
  bool ignore_salient = false;   // leave the fp16 correction of --keep-fp16 out, as other loaders do
};

struct SamplingOptions {
  int max_new_tokens = 128;
  float temperature = 0;  // 0 = greedy
  int top_k = 0;          // 0 = off
  float top_p = 1;        // 1 = off
  uint64_t seed = 42;
  bool stop_at_eos = true;
  std::function<void(int32_t)> on_token = {};  // called with each new token, before its text
};

struct GenerateTiming {
  int prompt_tokens = 0, new_tokens = 0;
  double first_token_seconds = 0;     // prompt processing + first sample
  std::vector<double> token_seconds;  // one per further token
};

// May be used from several threads: generate(), logits() and evaluate() share the model's working memory, so a call
// waits until the one before it has returned. What they call back (on_text, progress) must not call them again.
class Model {
 public:
  // `model`: folder, or org/name in the local Hugging Face cache.
  static Model load(const std::string& model, const LoadOptions& = {});
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  // Logits of every position of one sequence, row-major (ids.size(), vocab_size). Starts from an empty context.
  std::vector<float> logits(std::span<const int32_t> ids) const;

  // Calls `on_text` with each new piece of text (whole UTF-8 characters); returns the new token ids, the one that ended
  // the text included. Ends early where the context is full. An empty prompt starts from the model's BOS.
  std::vector<int32_t> generate(std::span<const int32_t> prompt, const SamplingOptions&,
                                const std::function<void(std::string_view)>& on_text = {}, GenerateTiming* = nullptr,
                                const std::atomic<int>* stop = nullptr) const;

  int vocab_size() const;
  std::string kernels() const;    // which kernel rows were chosen, one line
  uint64_t weight_bytes() const;  // bytes a token must read

  struct Impl;
  Impl& impl() const;  // for the rest of the library

 private:
  explicit Model(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

struct EvaluateOptions {
  int window = 512;              // tokens a window; non-overlapping; scored from the window alone
  int max_windows = 60;          // 0 = all
  size_t max_chars = 1'500'000;  // Unicode characters of the text used, 0 = all
  bool add_bos = false;          // put the tokenizer's BOS in front of each window
  std::function<void(int done, int total)> progress = {};
  const std::atomic<int>* stop = nullptr;
};

struct EvaluateReport {
  int windows = 0;
  uint64_t scored_tokens = 0;
  double perplexity = 0, nll = 0, nll_stderr = 0;  // nats a token
  // Against the reference model, when one is given:
  bool compared = false;
  double reference_perplexity = 0;
  double kl = 0, kl_stderr = 0, kl_p99 = 0;  // mean KL(reference || model) a token, nats
  double top1_agreement = 0;                 // fraction of positions with the same most likely token
  double seconds = 0;
};

EvaluateReport evaluate(const Model&, std::string_view text, const EvaluateOptions& = {},
                        const Model* reference = nullptr);

}  // namespace awq
