#include "bench/auto_choice.h"

#include <algorithm>

namespace awq::bench {
namespace {

void weigh(const std::string& version, double seconds, BestForced& best) {
  if (version == "auto") {
    best.auto_seconds = seconds;
  } else if (best.version.empty() || seconds < best.seconds) {
    best.version = version;
    best.seconds = seconds;
  }
}

}  // namespace

double BestForced::excess() const { return seconds > 0 && auto_seconds > 0 ? auto_seconds / seconds - 1 : 0; }

std::vector<AutoChoice> auto_choices(const ModelBenchReport& report) {
  std::vector<AutoChoice> all;
  for (const ModelTiming& t : report.timings) {
    auto cell =
        std::ranges::find_if(all, [&](const AutoChoice& c) { return c.prompt == t.prompt && c.batch == t.batch; });
    if (cell == all.end()) cell = all.insert(all.end(), {.prompt = t.prompt, .batch = t.batch});
    weigh(t.version, t.median_first_token(), cell->first_token);
    weigh(t.version, t.percentile(0.5), cell->token);
  }
  std::erase_if(all, [](const AutoChoice& c) { return c.token.version.empty(); });
  return all;
}

}  // namespace awq::bench
