// Is the automatic choice worth leaving alone? The version that was best when forced, and auto beside it.
#pragma once
#include <string>
#include <vector>

#include "bench/model_bench.h"

namespace awq::bench {

inline constexpr double kAutoTolerance = 0.03;  // auto may take so much longer than the best forced version

// Seconds until the first token, or a further token: medians.
struct BestForced {
  std::string version;                   // of those that were forced; "" when none was
  double seconds = 0, auto_seconds = 0;  // 0: not measured
  double excess() const;                 // of auto over it: 0.01 is one per cent longer
  bool within() const { return excess() <= kAutoTolerance; }
};

struct AutoChoice {
  int64_t prompt = 0, batch = 1;
  BestForced first_token = {}, token = {};
  bool has_auto() const { return token.auto_seconds > 0; }
  bool within() const { return first_token.within() && token.within(); }
};

// One for each prompt length and number of sequences for which some version was forced, in the report's order.
std::vector<AutoChoice> auto_choices(const ModelBenchReport&);

}  // namespace awq::bench
