// W4A16 without tensor cores, for chips from 6.0 on; see portable.cu.
#pragma once
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

extern const Launcher kGemvPortable;  // reads the weights once for every 8 tokens
extern const Launcher kGemmPortable;  // once for every 64 tokens

}  // namespace awq::backend::cuda
