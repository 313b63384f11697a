// Times launches as a decoder makes them: captured in a CUDA graph, back to back, each with another copy of the weights
// so that it reads device memory and not the L2.
#pragma once
#include <functional>

#include "backend/cuda/cuda_objects.h"
#include "backend/cuda/plugin.h"

namespace awq::backend::cuda::lab {

using LaunchCopy = std::function<void(int copy, cudaStream_t)>;

class ReplayTimer {
 public:
  explicit ReplayTimer(cudaStream_t stream);

  // Whole rotations over the copies, as many as fill options.replay_us; one sample a replay, nothing subtracted.
  Samples time(const LaunchCopy&, int copies, const LabOptions&);
  // The quickest of three replays of one rotation: to choose between candidates.
  double quick_us(const LaunchCopy&, int copies);

 private:
  GraphExec capture(const LaunchCopy&, int copies, int rotations, bool dependent_launch);
  double replay_us(cudaGraphExec_t);
  double rotation_us(cudaGraphExec_t);
  Samples replay(cudaGraphExec_t, int warm, int replays);  // microseconds a replay
  void run_once(const LaunchCopy&);
  double mean_sm_mhz() const;

  cudaStream_t stream_;
  Event begin_, end_;
  DeviceBuffer stamps_;  // ClockStamp [2][kMaxSms]: before and after the timed replays
};

}  // namespace awq::backend::cuda::lab
