#include "backend/cuda/run/stage_timer.h"

#include <algorithm>
#include <vector>

#include "backend/cuda/run/capture.h"

namespace awq::backend::cuda {
namespace {

constexpr int kWarm = 2, kReplays = 9;

}  // namespace

double replay_us(cudaStream_t stream, const std::function<void()>& launch) {
  launch();  // outside of the capture: loads kernels, and a launch that fails is reported as such
  check_cuda(cudaStreamSynchronize(stream), "timing a stage");
  const GraphExec graph = captured(stream, launch);
  const Event begin = make_event(), end = make_event();
  std::vector<double> us;
  for (int i = -kWarm; i < kReplays; ++i) {
    check_cuda(cudaEventRecord(begin.get(), stream), "recording an event");
    check_cuda(cudaGraphLaunch(graph.get(), stream), "launching a graph");
    check_cuda(cudaEventRecord(end.get(), stream), "recording an event");
    check_cuda(cudaEventSynchronize(end.get()), "timing a stage");
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, begin.get(), end.get()), "reading an event");
    if (i >= 0) us.push_back(1e3 * static_cast<double>(ms));
  }
  std::sort(us.begin(), us.end());
  return us[us.size() / 2];
}

}  // namespace awq::backend::cuda
