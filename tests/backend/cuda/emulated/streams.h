// Streams and graphs: work runs when it is submitted, or when the graph is launched that recorded it.
#pragma once
#include <cuda_runtime_api.h>

#include <functional>
#include <string>

namespace awq::emulated {

// `work` returns "" or what went wrong. `early`: it may start before what is ahead of it has ended.
cudaError_t submit(cudaStream_t, std::function<std::string()> work, bool early = false);

// What a launch ended with: kept for cudaGetLastError(), and as the text of cudaErrorLaunchFailure.
cudaError_t note(const std::string& failure);
cudaError_t last_error();

}  // namespace awq::emulated
