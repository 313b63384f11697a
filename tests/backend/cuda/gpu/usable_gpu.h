// Whether the plugin and its GPU are there, for tests that go through both.
#pragma once
#include <string>

#include "awq/error.h"
#include "backend/device.h"

namespace awq::backend {

// "" when they are.
inline std::string why_no_gpu() {
  try {
    open_device("cuda");
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace awq::backend
