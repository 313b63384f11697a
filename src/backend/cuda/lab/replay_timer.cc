#include "backend/cuda/lab/replay_timer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "backend/cuda/lab/sm_clock.h"

namespace awq::backend::cuda::lab {
namespace {

constexpr int kWarmReplays = 3, kFewestReplays = 5;
constexpr double kSlowUs = 20e3;     // a rotation this long needs no repetition to be known, nor more warming up
constexpr double kBudgetUs = 200e3;  // of timed replays; a launch of many milliseconds gets fewer of them
constexpr size_t kStampBytes = sizeof(ClockStamp) * kMaxSms;

// A launch that may start before the one ahead of it has finished is joined to it by a programmatic edge. Ordinary
// edges in their place make each launch wait for the end of the one before: its latency alone.
void make_edges_ordinary(cudaGraph_t graph) {
#if CUDART_VERSION >= 13000
  size_t count = 0;
  check_cuda(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &count), "reading a graph's edges");
  std::vector<cudaGraphNode_t> from(count), to(count);
  std::vector<cudaGraphEdgeData> edges(count);
  check_cuda(cudaGraphGetEdges(graph, from.data(), to.data(), edges.data(), &count), "reading a graph's edges");
  for (size_t i = 0; i < count; ++i) {
    if (edges[i].type == cudaGraphDependencyTypeDefault) continue;
    check_cuda(cudaGraphRemoveDependencies(graph, &from[i], &to[i], &edges[i], 1), "removing a graph's edge");
    check_cuda(cudaGraphAddDependencies(graph, &from[i], &to[i], nullptr, 1), "adding a graph's edge");
  }
#else
  (void)graph;  // CUDA 12 has these calls under other names; its builds are for GPUs without programmatic edges
#endif
}

// Ends the capture on every path: a stream left capturing would refuse everything that follows.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
  }
  ~Capture() {
    if (stream_) Graph{end()};
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  Graph finish() {
    Graph graph(end());
    check_cuda(status_, "ending a capture");
    return graph;
  }

 private:
  cudaGraph_t end() {
    cudaGraph_t graph = nullptr;
    status_ = cudaStreamEndCapture(stream_, &graph);
    stream_ = nullptr;
    return graph;
  }
  cudaStream_t stream_;
  cudaError_t status_ = cudaSuccess;
};

int sm_count() {
  int device = 0, sms = 0;
  check_cuda(cudaGetDevice(&device), "asking for the device");
  check_cuda(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device), "counting multiprocessors");
  return sms;
}

}  // namespace

ReplayTimer::ReplayTimer(cudaStream_t stream) : stream_(stream), begin_(make_event()), end_(make_event()) {
  stamps_.reserve(2 * kStampBytes);
}

GraphExec ReplayTimer::capture(const LaunchCopy& launch, int copies, int rotations, bool dependent_launch) {
  Capture recording(stream_);
  for (int rotation = 0; rotation < rotations; ++rotation)
    for (int copy = 0; copy < copies; ++copy) launch(copy, stream_);
  const Graph graph = recording.finish();
  if (!dependent_launch) make_edges_ordinary(graph.get());
  cudaGraphExec_t exec = nullptr;
  check_cuda(cudaGraphInstantiate(&exec, graph.get(), 0), "instantiating a graph");
  return GraphExec(exec);
}

double ReplayTimer::replay_us(cudaGraphExec_t graph) {
  check_cuda(cudaEventRecord(begin_.get(), stream_), "recording an event");
  check_cuda(cudaGraphLaunch(graph, stream_), "launching a graph");
  check_cuda(cudaEventRecord(end_.get(), stream_), "recording an event");
  check_cuda(cudaEventSynchronize(end_.get()), "running a graph");
  float ms = 0;
  check_cuda(cudaEventElapsedTime(&ms, begin_.get(), end_.get()), "reading an event");
  return 1e3 * static_cast<double>(ms);
}

// Outside of a capture: loads the kernels, and a failing launch is reported as such.
void ReplayTimer::run_once(const LaunchCopy& launch) {
  launch(0, stream_);
  check_cuda(cudaStreamSynchronize(stream_), "running a kernel for the first time");
}

// The quickest of three, or the first where it is slow.
double ReplayTimer::rotation_us(cudaGraphExec_t graph) {
  double us = replay_us(graph);
  for (int i = 0; i < 2 && us < kSlowUs; ++i) us = std::min(us, replay_us(graph));
  return us;
}

double ReplayTimer::quick_us(const LaunchCopy& launch, int copies) {
  run_once(launch);
  return rotation_us(capture(launch, copies, 1, true).get()) / copies;
}

Samples ReplayTimer::time(const LaunchCopy& launch, int copies, const LabOptions& options) {
  run_once(launch);
  GraphExec graph = capture(launch, copies, 1, options.dependent_launch);
  const double one = rotation_us(graph.get());
  const int rotations = std::max(1, static_cast<int>(std::lround(options.replay_us / one)));
  if (rotations > 1) graph = capture(launch, copies, rotations, options.dependent_launch);

  const double affordable = kBudgetUs / (one * rotations);
  const int replays = static_cast<int>(std::clamp<double>(affordable, kFewestReplays, options.replays));
  std::this_thread::sleep_for(std::chrono::milliseconds(options.rest_ms));
  Samples samples = replay(graph.get(), one < kSlowUs ? kWarmReplays : 0, replays);
  for (double& us : samples.us) us /= static_cast<double>(rotations) * copies;
  return samples;
}

// All replays are queued at once, so that the device never waits for the host.
Samples ReplayTimer::replay(cudaGraphExec_t graph, int warm, int replays) {
  std::vector<Event> marks;
  for (int i = 0; i <= replays; ++i) marks.push_back(make_event());
  check_cuda(cudaMemsetAsync(stamps_.as(), 0, 2 * kStampBytes, stream_), "clearing the clock stamps");
  for (int i = 0; i < warm; ++i) check_cuda(cudaGraphLaunch(graph, stream_), "launching a graph");
  stamp_clocks(stamps_.as<ClockStamp>(), sm_count(), stream_);
  check_cuda(cudaEventRecord(marks[0].get(), stream_), "recording an event");
  for (int i = 0; i < replays; ++i) {
    check_cuda(cudaGraphLaunch(graph, stream_), "launching a graph");
    check_cuda(cudaEventRecord(marks[static_cast<size_t>(i) + 1].get(), stream_), "recording an event");
  }
  stamp_clocks(stamps_.as<ClockStamp>(kStampBytes), sm_count(), stream_);
  check_cuda(cudaStreamSynchronize(stream_), "replaying a graph");

  Samples samples;
  for (size_t i = 1; i < marks.size(); ++i) {
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, marks[i - 1].get(), marks[i].get()), "reading an event");
    samples.us.push_back(1e3 * static_cast<double>(ms));
  }
  samples.sm_mhz = mean_sm_mhz();
  return samples;
}

double ReplayTimer::mean_sm_mhz() const {
  std::vector<ClockStamp> stamps(2 * kMaxSms);
  check_cuda(cudaMemcpy(stamps.data(), stamps_.as(), 2 * kStampBytes, cudaMemcpyDeviceToHost), "reading clock stamps");
  return sm_mhz(stamps.data(), stamps.data() + kMaxSms);
}

}  // namespace awq::backend::cuda::lab
