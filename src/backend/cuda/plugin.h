// What libawq_cuda.so offers to the library that opened it: C++ across dlopen(), allowed because both come from one
// build; plugin_loader.cc compares kPluginAbi before it calls anything. No CUDA header here.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "awq/devices.h"
#include "backend/device.h"

namespace awq::backend::cuda {

inline constexpr int kPluginAbi = 4;

// Timings of one kernel: microseconds a launch, one entry a graph replay.
struct Samples {
  std::vector<double> us;
  double sm_mhz = 0;  // clock during the timing, from the device's cycle counter
};

struct LabOptions {
  uint64_t cold_bytes = 256u << 20;  // weights rotate over copies that total at least this (and twice the L2)
  double replay_us = 600;            // a graph replay lasts about this long: whole rotations of the copies
  int replays = 25;
  int rest_ms = 100;  // pause before the replays: what ran before must not decide the clock through heat and power
  bool dependent_launch = true;  // a launch may begin while the one before it ends; false: each waits for that end
};

// Times and checks kernels on one device; weights, x and y are random and its own. Throws Error(kDevice, kNoRoom).
class KernelLab {
 public:
  virtual ~KernelLab() = default;
  virtual double read_bandwidth() = 0;               // bytes a second, a plain read of 2 GiB
  virtual double read_floor_us(uint64_t bytes) = 0;  // best of several plain read kernels
  virtual Samples time_row(std::string_view row, const Problem&, const LabOptions&) = 0;
  virtual Samples time_fp16_gemm(const Problem&, const LabOptions&) = 0;    // cuBLAS, fp16 weights
  virtual double relative_error(std::string_view row, const Problem&) = 0;  // ||y - ref|| / ||ref||, float64 reference
  virtual bool bit_identical(std::string_view row, const Problem&, int runs) = 0;  // over `runs` launches
};

// The weights of a checkpoint, read and checked by the library: the plugin knows no files. Calls may come from several
// threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual bool is_packed(const std::string& module) const = 0;  // else it is stored as floats
  virtual bool has(const std::string& tensor) const = 0;
  virtual format::QuantizedLinear packed(const std::string& module, int64_t n, int64_t k) const = 0;  // with its bias
  // The same as the file holds it, where nothing is left to check but what repacking on the device cannot get wrong.
  virtual std::optional<format::StoredLinear> stored(const std::string& module, int64_t n, int64_t k) const = 0;
  virtual format::SalientColumns salient(const std::string& module, int64_t n, int64_t k) const = 0;
  // Rows [first, first + rows) of a matrix, rounded. Error(kBadInput) for a value beyond float16.
  virtual void read_f16(const std::string& tensor, int64_t first, int64_t rows, std::span<f16_t> out) const = 0;
  virtual std::vector<float> read_f32(const std::string& tensor) const = 0;
};

struct ExecutorRequest {
  DeviceInfo device;
  model::ModelConfig config;
  ExecutorOptions options;
  std::vector<float> rope_frequencies;  // (head_dim / 2), scaled as the checkpoint says
};

struct QuantRequest {
  DeviceInfo device;
  const model::ModelConfig& config;  // outlives the engine
  QuantEngineOptions options;
  std::vector<float> rope_frequencies;  // as above
};

class Plugin {
 public:
  virtual ~Plugin() = default;
  virtual std::unique_ptr<KernelLab> open_lab(const DeviceInfo&) const = 0;
  virtual std::unique_ptr<Executor> load_executor(const ExecutorRequest&, const WeightSource&) const = 0;
  virtual std::unique_ptr<QuantEngine> quant_engine(const QuantRequest&) const = 0;
  virtual uint64_t free_memory(const DeviceInfo& device) const { return device.memory_bytes; }  // bytes
};

}  // namespace awq::backend::cuda

// The plugin's entry points, besides awq/cuda.h:
//   extern "C" int awq_cuda_plugin_abi();                                   // kPluginAbi
//   extern "C" const awq::backend::cuda::Plugin* awq_cuda_plugin();
