// The figures of `awq bench --kernels` on a GPU as one HTML file: a chart a shape, and the figures below it.
#pragma once
#include <string>

#include "bench/cuda_rows.h"
#include "bench/peers.h"

namespace awq::bench {

std::string html_page(const CudaBenchReport&, const PeerTable* peers);  // `peers` may be null

// Begins a page in the style of this one: everything up to the first line below its heading.
std::string page_head(const std::string& title);

}  // namespace awq::bench
