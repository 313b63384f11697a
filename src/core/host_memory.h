// Memory of this machine as the process may use it, the control group's limit taken into account.
#pragma once
#include <cstdint>

namespace awq {

uint64_t available_host_memory();  // bytes that can be allocated now without swapping; UINT64_MAX when unknown
uint64_t peak_host_memory();       // largest resident set of this process so far, bytes

}  // namespace awq
