// The figures of kernels_cuda.h for a terminal, a spreadsheet and a program.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "bench/cuda_rows.h"
#include "bench/peers.h"

namespace awq::bench {

// `peers` may be null everywhere.
std::string table_text(const CudaBenchReport&, const PeerTable* peers);
std::string csv_text(const CudaBenchReport&);
nlohmann::ordered_json as_json(const CudaBenchReport&, const PeerTable* peers);

}  // namespace awq::bench
