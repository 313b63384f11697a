// Counts a program's calls of the CUDA runtime and driver, in all and in its token loop. The driver loads this library
// into any program with CUDA_INJECTION64_PATH set to it; when the program ends it writes one JSON object to the file
// that COUNT_CUDA_CALLS names:
//
//   {"runtime": {"cudaMalloc_v3020": {"calls": 211, "in_loop": 0}, ...}, "driver": {...}, "steps": 199}
//
// A step of awq is one launch of a graph, so the loop reaches from the first launch to the last: "in_loop" are the
// calls begun between them, "steps" the number of intervals. Needs no mark in the program. CUPTI, which comes with the
// toolkit, is opened when the program runs.
#include <cuda.h>
#include <cupti.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace {

constexpr size_t kMostCalls = 4096;  // a newer driver has more than the header lists
using Counts = std::array<uint64_t, kMostCalls>;

// One of the two interfaces: what was called, what had been by the first and by the last launch of a graph.
struct Interface {
  const char* name;
  CUpti_CallbackDomain domain;
  std::array<CUpti_CallbackId, 2> launches;  // of a graph: on a named stream, on the default one of a thread
  std::array<std::atomic<uint64_t>, kMostCalls> calls = {};
  Counts at_first = {}, at_last = {};
  uint64_t launched = 0;

  Counts now() const {
    Counts counts;
    std::transform(calls.begin(), calls.end(), counts.begin(), [](const auto& n) { return n.load(); });
    return counts;
  }
  // Before the launch itself is counted: every interval holds one launch and what follows it.
  void begin(CUpti_CallbackId id) {
    if (id >= kMostCalls) return;
    if (id == launches[0] || id == launches[1]) {
      at_last = now();
      if (launched++ == 0) at_first = at_last;
    }
    ++calls[id];
  }
};

Interface interfaces[] = {
    {"runtime",
     CUPTI_CB_DOMAIN_RUNTIME_API,
     {CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_v10000, CUPTI_RUNTIME_TRACE_CBID_cudaGraphLaunch_ptsz_v10000}},
    {"driver",
     CUPTI_CB_DOMAIN_DRIVER_API,
     {CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch, CUPTI_DRIVER_TRACE_CBID_cuGraphLaunch_ptsz}},
};

// What is called of CUPTI.
struct Cupti {
  decltype(&cuptiSubscribe) subscribe;
  decltype(&cuptiEnableDomain) enable_domain;
  decltype(&cuptiGetCallbackName) callback_name;
} cupti;

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

bool open_cupti() {
  const std::string versioned = "libcupti.so." + std::to_string(CUDA_VERSION / 1000);
  void* library = dlopen(versioned.c_str(), RTLD_NOW);
  if (library == nullptr) library = dlopen("libcupti.so", RTLD_NOW);
  return library != nullptr && find(library, "cuptiSubscribe", cupti.subscribe) &&
         find(library, "cuptiEnableDomain", cupti.enable_domain) &&
         find(library, "cuptiGetCallbackName", cupti.callback_name);
}

void CUPTIAPI on_call(void*, CUpti_CallbackDomain domain, CUpti_CallbackId id, const void* data) {
  if (static_cast<const CUpti_CallbackData*>(data)->callbackSite != CUPTI_API_ENTER) return;
  for (Interface& one : interfaces)
    if (one.domain == domain) one.begin(id);
}

std::string name_of(const Interface& of, size_t id) {
  const char* name = nullptr;
  const bool known = cupti.callback_name(of.domain, static_cast<uint32_t>(id), &name) == CUPTI_SUCCESS;
  return known && name != nullptr ? name : "call_" + std::to_string(id);
}

void write_calls(const Interface& of, std::FILE* out) {
  std::fprintf(out, "\"%s\": {", of.name);
  const char* before = "";
  for (size_t id = 0; id < kMostCalls; ++id) {
    const uint64_t calls = of.calls[id].load();
    if (calls == 0) continue;
    std::fprintf(out, "%s\"%s\": {\"calls\": %llu, \"in_loop\": %llu}", before, name_of(of, id).c_str(),
                 static_cast<unsigned long long>(calls),
                 static_cast<unsigned long long>(of.at_last[id] - of.at_first[id]));
    before = ", ";
  }
  std::fputs("}, ", out);
}

void write_report() {
  const char* file = std::getenv("COUNT_CUDA_CALLS");
  std::FILE* out = file == nullptr ? nullptr : std::fopen(file, "w");
  if (out == nullptr) {
    std::fputs("count_cuda_calls: COUNT_CUDA_CALLS names no file that can be written\n", stderr);
    return;
  }
  std::fputc('{', out);
  for (const Interface& one : interfaces) write_calls(one, out);
  const uint64_t launched = std::max(interfaces[0].launched, interfaces[1].launched);
  std::fprintf(out, "\"steps\": %llu}\n", static_cast<unsigned long long>(launched > 0 ? launched - 1 : 0));
  std::fclose(out);
}

}  // namespace

// What the driver calls, from cuInit, in the library of CUDA_INJECTION64_PATH.
extern "C" __attribute__((visibility("default"))) int InitializeInjection() {
  CUpti_SubscriberHandle subscriber = nullptr;
  if (!open_cupti()) {
    std::fprintf(stderr, "count_cuda_calls: cannot open CUPTI (%s): put its folder on LD_LIBRARY_PATH\n", dlerror());
    return 0;
  }
  CUptiResult result = cupti.subscribe(&subscriber, on_call, nullptr);
  for (const Interface& one : interfaces)
    if (result == CUPTI_SUCCESS) result = cupti.enable_domain(1, subscriber, one.domain);
  if (result == CUPTI_SUCCESS) return std::atexit(write_report) == 0 ? 1 : 0;
  std::fprintf(stderr, "count_cuda_calls: CUPTI refuses to call back (result %d); is another tool attached?\n", result);
  return 0;
}
