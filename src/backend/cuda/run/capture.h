// Records what a function launches as a graph.
#pragma once
#include "backend/cuda/cuda_objects.h"

namespace awq::backend::cuda {

// Ends the capture on every path: a stream left capturing would refuse everything that follows.
template <class Body>
GraphExec captured(cudaStream_t stream, Body&& body) {
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
  cudaGraph_t recorded = nullptr;
  try {
    body();
  } catch (...) {
    cudaStreamEndCapture(stream, &recorded);
    Graph{recorded};
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &recorded), "ending a capture");
  const Graph graph(recorded);
  cudaGraphExec_t exec = nullptr;
  check_cuda(cudaGraphInstantiate(&exec, graph.get(), 0), "instantiating a graph");
  return GraphExec(exec);
}

}  // namespace awq::backend::cuda
