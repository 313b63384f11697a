// W4A16 without tensor cores, for chips from 6.0 on; see portable.cuh.
#pragma once
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

extern const Launcher kGemvPortable;  // reads the weights once for every 8 tokens
extern const Launcher kGemmPortable;  // once for every 16, 32 or 64

}  // namespace awq::backend::cuda
