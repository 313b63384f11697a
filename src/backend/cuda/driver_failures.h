// What each failure of the driver means to the person in front of it, and what to do about it.
#pragma once
#include <string>

#include "backend/cuda/driver_api.h"

namespace awq::backend::cuda {

// One sentence for a result other than 0. `doing`: what was asked, for results that have no sentence of their own.
std::string driver_failure(const DriverApi&, Result, const char* doing);

// "" when a driver that supports `driver_cuda` (12040 is 12.4) runs code of CUDA `toolkit`, else why not.
std::string too_old_for(int toolkit, int driver_cuda);

// Why the driver started and has nothing to offer.
std::string no_device_reason();

}  // namespace awq::backend::cuda
