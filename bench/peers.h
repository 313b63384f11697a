// Figures of other programs' kernels, from a CSV with the columns peer, N, K, M, us and relerr (others are ignored).
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "bench/cuda_rows.h"

namespace awq::bench {

struct PeerTiming {
  std::string peer;
  double us = 0;
};

// The quickest peer of each (m, n, k) that is comparable: f16 activations, so ggml's int8 ones are out; 4-bit weights,
// so cuBLAS and torch are; and a relative error below 5e-3.
class PeerTable {
 public:
  static PeerTable parse(std::string_view csv);                   // throws Error(kBadInput)
  static PeerTable read_file(const std::string& path);            // throws Error
  const PeerTiming* best(int64_t m, int64_t n, int64_t k) const;  // null when no peer was measured there
  size_t size() const { return best_.size(); }

 private:
  std::map<std::tuple<int64_t, int64_t, int64_t>, PeerTiming> best_;
};

struct PeerLead {
  int64_t m = 0, n = 0, k = 0;
  PeerTiming peer;
  double us = 0;  // of the automatic choice
};
// Cells where the peer takes less than the automatic choice by more than `margin` (0.05), the widest lead first.
std::vector<PeerLead> peer_leads(const CudaBenchReport&, const PeerTable&, double margin);

// Geometric mean of time(auto) / time(best peer) at m over the shapes that both have; 0 of none.
double mean_against_peers(const CudaBenchReport&, const PeerTable&, int64_t m);

}  // namespace awq::bench
