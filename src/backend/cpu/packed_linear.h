// Packed 4-bit linears of an AWQ checkpoint, with the fp16 correction of --keep-fp16 where the folder has one.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "backend/cpu/linear.h"
#include "backend/device.h"
#include "io/checkpoint.h"
#include "model/config.h"

namespace awq::backend::cpu {

class PackedLinears {
 public:
  PackedLinears(const io::Checkpoint&, const model::ModelConfig&, const ExecutorOptions&);
  ~PackedLinears();
  bool has(const std::string& module) const;  // false: the module is stored as floats
  std::unique_ptr<Linear> load(const std::string& module, int64_t n, int64_t k) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::backend::cpu
