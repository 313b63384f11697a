// From logits to a token: greedy, or drawn after temperature, then top-k, then top-p, in that order, with the
// arithmetic of core/token_weight.h, so that an executor that draws by itself draws the same.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "awq/model.h"
#include "backend/device.h"
#include "core/token_weight.h"

namespace awq::run {

class Sampler {
 public:
  // Error(kUsage) for a temperature, top_k or top_p that means nothing.
  Sampler(const SamplingOptions&, int64_t vocab);
  // The n-th call's draw depends on the seed, n and the logits only: mix64 of (seed, n), 53 bits, so that a seed means
  // the same on every machine. Error(kBadInput) when no logit is a number.
  int32_t operator()(std::span<const float> logits);

  // The same where the logits stay with the executor, which draws by itself: what it has to know, then what it drew.
  backend::TokenDraw next_draw() const;
  int32_t accept(int32_t drawn);

 private:
  struct Candidate {
    float logit;
    int32_t id;
    uint64_t weight;
  };
  static bool before(const Candidate& a, const Candidate& b);
  double uniform() const;
  void sort_first(size_t count, size_t sorted);
  void collect(std::span<const float> logits, float largest, const DrawNumbers&);
  void keep_top_p(const DrawNumbers&);
  uint64_t total() const;

  SamplingOptions options_;
  uint64_t drawn_ = 0;
  std::vector<Candidate> candidates_;  // capacity vocab: no allocation in the token loop
};

int32_t most_likely(std::span<const float> logits);  // the lowest id among equals; -1 when no logit is a number

}  // namespace awq::run
