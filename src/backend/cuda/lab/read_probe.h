// Plain reads of device memory: the bandwidth, and the least time that any kernel reading these bytes could take.
#pragma once
#include <cstdint>

#include "backend/cuda/lab/replay_timer.h"

namespace awq::backend::cuda::lab {

// Best of the read kernels over `bytes` (a multiple of 16), cold: `buffer` holds `copies` of them, used in turn.
double best_read_us(ReplayTimer&, const void* buffer, uint64_t bytes, int copies, int sms, uint32_t* sink,
                    const LabOptions&);

}  // namespace awq::backend::cuda::lab
