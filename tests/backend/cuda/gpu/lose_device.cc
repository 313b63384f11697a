// LD_PRELOADed into a program that uses CUDA: from one call of the driver on, its answers are an error that sticks, as
// after an illegal address, while the device stays unharmed. The environment says when:
//   LOSE_DEVICE_AT      the call, from 1, from which on each one fails; absent or 0: never
//   LOSE_DEVICE_REPORT  a file to write the number of calls to at the end
// Calls are what launches and what waits. The CUDA runtime, linked statically, finds the driver's functions by dlsym()
// and cuGetProcAddress(): both are answered here, with functions that count and then call the driver's.
#include <cuda.h>
#include <dlfcn.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr CUresult kLost = CUDA_ERROR_LAUNCH_FAILED;
constexpr int kKinds = 2;  // of streams: the legacy default, and one a thread

std::atomic<uint64_t> calls{0};

uint64_t lose_at() {
  static const char* const text = std::getenv("LOSE_DEVICE_AT");
  static const uint64_t at = text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
  return at;
}

bool is_lost() {
  const uint64_t call = ++calls;
  return lose_at() > 0 && call >= lose_at();
}

// The driver's function behind a row, by kind, and what is handed out for it.
template <int Row, int Kind, class Function>
struct Counted;
template <int Row, int Kind, class... Arguments>
struct Counted<Row, Kind, CUresult(Arguments...)> {
  static inline CUresult (*driver)(Arguments...) = nullptr;
  static CUresult call(Arguments... arguments) { return is_lost() ? kLost : driver(arguments...); }
};

struct RowKind {
  void* counted;
  void (*remember)(void* driver);
};
struct Row {
  const char* name;
  RowKind kinds[kKinds];
};

template <class One>
RowKind row_kind() {
  return {reinterpret_cast<void*>(&One::call),
          [](void* driver) { One::driver = reinterpret_cast<decltype(One::driver)>(driver); }};
}
template <int Index, class Function>
Row row(const char* name) {
  return {name, {row_kind<Counted<Index, 0, Function>>(), row_kind<Counted<Index, 1, Function>>()}};
}

// Functions of which CUDA 12 and 13 know one version only: what is asked for is what is declared here.
const Row kRows[] = {
    row<0, decltype(cuStreamSynchronize)>("cuStreamSynchronize"),
    row<1, decltype(cuEventSynchronize)>("cuEventSynchronize"),
    row<2, decltype(cuLaunchKernel)>("cuLaunchKernel"),
    row<3, decltype(cuLaunchKernelEx)>("cuLaunchKernelEx"),
    row<4, decltype(cuGraphLaunch)>("cuGraphLaunch"),
};

void* counted(const char* name, int kind, void* driver) {
  for (const Row& one : kRows)
    if (driver != nullptr && std::strcmp(one.name, name) == 0) {
      one.kinds[kind].remember(driver);
      return one.kinds[kind].counted;
    }
  return driver;
}

using FindFirst = CUresult(const char*, void**, int, cuuint64_t);
using FindNow = CUresult(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*);
FindFirst* find_first = nullptr;
FindNow* find_now = nullptr;

void* answered(const char* name, void* driver);

// What the driver found, or what counts in its place.
CUresult replaced(CUresult result, const char* name, void** found, cuuint64_t flags) {
  if (result != CUDA_SUCCESS || found == nullptr) return result;
  const bool a_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
  if (std::strcmp(name, "cuGetProcAddress") != 0) *found = counted(name, a_thread ? 1 : 0, *found);
  return result;
}

CUresult found_first(const char* name, void** found, int version, cuuint64_t flags) {
  return replaced(find_first(name, found, version, flags), name, found, flags);
}

CUresult found_now(const char* name, void** found, int version, cuuint64_t flags, CUdriverProcAddressQueryResult* why) {
  const CUresult result = replaced(find_now(name, found, version, flags, why), name, found, flags);
  // The finder found by itself: of the version that was asked for.
  if (result == CUDA_SUCCESS && found != nullptr && std::strcmp(name, "cuGetProcAddress") == 0)
    *found = answered(version >= 12000 ? "cuGetProcAddress_v2" : "cuGetProcAddress", *found);
  return result;
}

void* answered(const char* name, void* driver) {
  if (driver == nullptr) return nullptr;
  if (std::strcmp(name, "cuGetProcAddress_v2") == 0) {
    find_now = reinterpret_cast<FindNow*>(driver);
    return reinterpret_cast<void*>(&found_now);
  }
  if (std::strcmp(name, "cuGetProcAddress") == 0) {
    find_first = reinterpret_cast<FindFirst*>(driver);
    return reinterpret_cast<void*>(&found_first);
  }
  return counted(name, 0, driver);
}

using Dlsym = void*(void*, const char*);
Dlsym* system_dlsym() {
  static Dlsym* const found = [] {
    void* symbol = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");  // moved from libdl into libc
    if (symbol == nullptr) symbol = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    return reinterpret_cast<Dlsym*>(symbol);
  }();
  return found;
}

struct Report {
  ~Report() {
    const char* name = std::getenv("LOSE_DEVICE_REPORT");
    std::FILE* file = name == nullptr || calls == 0 ? nullptr : std::fopen(name, "w");
    if (file == nullptr) return;
    std::fprintf(file, "%llu\n", static_cast<unsigned long long>(calls.load()));
    std::fclose(file);
  }
} report;

}  // namespace

extern "C" __attribute__((visibility("default"))) void* dlsym(void* library, const char* name) noexcept {
  if (std::strncmp(name, "cu", 2) != 0)
    return system_dlsym()(library, name);  // as a jump: RTLD_NEXT goes by the caller
  return answered(name, system_dlsym()(library, name));
}
