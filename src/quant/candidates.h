// Candidate scale vectors for a group of linears that read the same input.
//
//   paper   s[k] = mean|x[k]|^r                                       r = i/20, i = 1 .. 19   (Lin et al., AWQ, arXiv
//   2306.00978) duo     s[k] = mean|x[k]|^r / (w_mean[k]^(1-r) + 1e-4)            r = i/20, i = 0 .. 19   (AutoAWQ's
//   default)
// each clamped at 1e-4 below and divided by sqrt(max s * min s). w_mean[k] is the mean over all rows of
// |w| / (max|w| of its row's group + 1e-6). The identity comes first in every list, so that it wins ties.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "awq/config.h"

namespace awq::quant {

struct Candidate {
  std::string name;          // "identity", "paper 0.45", "duo 0.80"
  std::vector<float> scale;  // (k)
};

// mean|x| of each input channel, from sums over `tokens` tokens.
std::vector<float> mean_abs(std::span<const double> abs_sum, int64_t tokens);

// Channels that no token excites (x_mean 0) keep scale 1 and do not take part in the normalisation: with AutoAWQ's
// clamp one dead channel would set min(s) for all the others.
constexpr int candidate_count(Search search) {
  return search == Search::kNone ? 1 : search == Search::kPaper ? 20 : search == Search::kDuo ? 21 : 40;
}
std::vector<Candidate> make_candidates(Search, std::span<const float> x_mean, std::span<const float> w_mean);

// The `count` channels of largest `score`, ascending by number; ties go to the lower channel.
std::vector<int32_t> largest_channels(std::span<const float> score, int64_t count);

}  // namespace awq::quant
