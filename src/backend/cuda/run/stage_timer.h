// Microseconds of one kind of work of a step, by itself: the launches of all blocks back to back in a graph, so that
// weights are as cold as in a step and no launch waits for the host.
#pragma once
#include <functional>

#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda {

// Median over some replays of what `launch` puts into the stream.
double replay_us(cudaStream_t, const std::function<void()>& launch);

}  // namespace awq::backend::cuda
