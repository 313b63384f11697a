// W4A16 GEMM with mma.sync for chips from 7.5 on; see gemm_mma.cuh.
#pragma once
#include "backend/cuda/linear_launch.h"

namespace awq::backend::cuda {

extern const Launcher kGemmMmaSm80;  // 8.0 and later: cp.async, m16n8k16, f16 and bf16
extern const Launcher kGemmMmaSm75;  // 7.5 and later: m16n8k8, f16 only

}  // namespace awq::backend::cuda
