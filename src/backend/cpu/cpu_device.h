#pragma once
#include <memory>

#include "backend/device.h"

namespace awq::backend::cpu {

std::unique_ptr<Device> open_cpu();

}  // namespace awq::backend::cpu
