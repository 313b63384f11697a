// Whether the engines that serve a 4-bit checkpoint on several GPUs (vLLM, SGLang: tensor parallelism) can cut its
// linears.
#pragma once
#include <string>
#include <vector>

namespace awq {

struct ServeCheck {
  int gpus = 1;
  std::vector<std::string> refusals;  // why the checkpoint does not load on so many
  std::vector<std::string> slower;    // why their Marlin kernels do not run it there, only slower ones
};

}  // namespace awq
