// What one query costs with each kernel version, and from how many parallel requests the other version is the better
// one: the time of all quantized linears of a model, layer by layer, without attention, norms and the output matrix,
// which take the same time whichever version runs.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "backend/cuda/plugin.h"
#include "bench/kernels_cuda.h"
#include "bench/shapes.h"

namespace awq::bench {

// Seconds a token step with that many requests; none where a version could not run.
struct RequestLatency {
  int64_t requests = 1;
  std::optional<double> gemv, gemm, automatic, dense;
};

struct SingleQueryReport {
  DeviceInfo device;
  std::string model, commit, date;
  int layers = 0, group = 128;
  std::vector<RequestLatency> rows;  // ascending in requests, 1 first
  std::vector<std::string> notes;
};

SingleQueryReport measure_single_query(backend::cuda::KernelLab&, const DeviceInfo&, const ModelShapes&,
                                       const CudaBenchOptions&, const BenchProgress&);
// The same from figures already measured.
SingleQueryReport single_query_of(const CudaBenchReport&, const ModelShapes&);

std::optional<double> requests_from_which_gemm_wins(const SingleQueryReport&);
std::string recommendation(const SingleQueryReport&);  // plain sentences for this card
std::string text_of(const SingleQueryReport&);
nlohmann::ordered_json as_json(const SingleQueryReport&);

}  // namespace awq::bench
