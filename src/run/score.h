// What the logits at one position say about the token that follows, and about another model's logits there.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "awq/model.h"

namespace awq::run {

double log_sum_exp(std::span<const float> logits);  // in float64, around the largest logit

struct PositionScore {
  double nll = 0;            // -log p(next)
  double reference_nll = 0;  // the three below only where a reference is given
  double kl = 0;             // KL(reference || model), nats
  bool agrees = false;       // the same most likely token
};
// `reference` may be empty.
PositionScore score_position(std::span<const float> logits, std::span<const float> reference, int32_t next);

// Means, standard errors (of the mean, positions taken as independent) and the 99th percentile; fills everything but
// `windows` and `seconds`. Error(kBadInput) when a score is not a number.
void summarize(std::span<const PositionScore>, bool compared, EvaluateReport&);

}  // namespace awq::run
