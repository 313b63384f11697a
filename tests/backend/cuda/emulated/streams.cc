#include "backend/cuda/emulated/streams.h"

#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

namespace awq::emulated {
namespace {

struct Node {
  std::function<std::string()> work;
  bool early;
};

cudaError_t last = cudaSuccess;
std::string last_failure = "unspecified launch failure";

}  // namespace

cudaError_t note(const std::string& failure) {
  if (failure.empty()) return cudaSuccess;
  std::fprintf(stderr, "emulated kernel: %s\n", failure.c_str());
  last_failure = failure;
  return last = cudaErrorLaunchFailure;
}
cudaError_t last_error() { return last; }

}  // namespace awq::emulated

// The runtime's handles.
struct CUgraph_st {
  std::vector<awq::emulated::Node> nodes;  // one after the other
};
struct CUgraphExec_st {
  std::vector<awq::emulated::Node> nodes;
};
struct CUstream_st {
  std::unique_ptr<CUgraph_st> recording;
};
struct CUevent_st {};

namespace awq::emulated {

cudaError_t submit(cudaStream_t stream, std::function<std::string()> work, bool early) {
  const bool default_stream = stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread;
  if (default_stream || stream->recording == nullptr) return note(work());
  stream->recording->nodes.push_back({std::move(work), early});
  return cudaSuccess;
}

}  // namespace awq::emulated

using namespace awq::emulated;  // NOLINT: definitions of C functions follow

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* out) {
  *out = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned) { return cudaStreamCreate(out); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return last; }
cudaError_t cudaStreamQuery(cudaStream_t) { return last; }
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { return last; }

cudaError_t cudaEventCreate(cudaEvent_t* out) {
  *out = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) { return cudaEventCreate(out); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return last; }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) {
  *ms = 0;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr) return cudaErrorStreamCaptureUnsupported;
  stream->recording = std::make_unique<CUgraph_st>();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* out) {
  *out = stream->recording.release();
  return *out == nullptr ? cudaErrorIllegalState : cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* out, cudaGraph_t graph, unsigned long long) {
  *out = new CUgraphExec_st{graph->nodes};
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t) {
  for (const Node& node : graph->nodes)
    if (const cudaError_t e = note(node.work()); e != cudaSuccess) return e;
  return cudaSuccess;
}

// Each node after the one before; the nodes themselves have no handles.
static cudaError_t edges_of(cudaGraph_t graph, cudaGraphEdgeData* edges, size_t* count) {
  *count = graph->nodes.empty() ? 0 : graph->nodes.size() - 1;
  for (size_t i = 0; edges != nullptr && i < *count; ++i) {
    edges[i] = {};
    if (graph->nodes[i + 1].early) edges[i].type = cudaGraphDependencyTypeProgrammatic;
  }
  return cudaSuccess;
}
#if CUDART_VERSION >= 13000
cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t*, cudaGraphNode_t*, cudaGraphEdgeData* edges,
                              size_t* count) {
  return edges_of(graph, edges, count);
}
#else
cudaError_t cudaGraphGetEdges_v2(cudaGraph_t graph, cudaGraphNode_t*, cudaGraphNode_t*, cudaGraphEdgeData* edges,
                                 size_t* count) {
  return edges_of(graph, edges, count);
}
#endif

cudaError_t cudaGetLastError() { return std::exchange(last, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last; }
const char* cudaGetErrorName(cudaError_t error) { return error == cudaSuccess ? "cudaSuccess" : "cudaError"; }
const char* cudaGetErrorString(cudaError_t error) {
  static thread_local std::string text;
  if (error == cudaSuccess) return "no error";
  text = error == cudaErrorLaunchFailure ? last_failure : "CUDA error " + std::to_string(static_cast<int>(error));
  return text.c_str();
}

}  // extern "C"
