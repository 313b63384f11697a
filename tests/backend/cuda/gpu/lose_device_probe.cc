// Finds a driver's functions as the CUDA runtime does and calls them in turn; prints the results. For lose_device.cc's
// test.
#include <cuda.h>
#include <dlfcn.h>

#include <cstdio>

using Find = CUresult(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*);
using Wait = CUresult(CUstream);
using Launch = CUresult(CUgraphExec, CUstream);

int main(int, char** argv) {
  void* driver = dlopen(argv[1], RTLD_NOW);
  auto* find = driver == nullptr ? nullptr : reinterpret_cast<Find*>(dlsym(driver, "cuGetProcAddress_v2"));
  if (find == nullptr) return 1;
  void* found[4] = {};
  find("cuGetProcAddress", &found[0], 13000, 0, nullptr);
  auto* find_again = reinterpret_cast<Find*>(found[0]);
  find_again("cuStreamSynchronize", &found[1], 13000, CU_GET_PROC_ADDRESS_LEGACY_STREAM, nullptr);
  find_again("cuStreamSynchronize", &found[2], 13000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, nullptr);
  find_again("cuGraphLaunch", &found[3], 13000, 0, nullptr);
  for (int round = 0; round < 2; ++round)
    std::printf("%d %d %d ", reinterpret_cast<Launch*>(found[3])(nullptr, nullptr),
                reinterpret_cast<Wait*>(found[1])(nullptr), reinterpret_cast<Wait*>(found[2])(nullptr));
  std::printf("\n");
}
