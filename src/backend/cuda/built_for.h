// Which chips this build has code for. A kernel compiled for an older chip than the one at hand has the older chip's
// body, so selection goes by what runs, not by what the device could do.
#pragma once
#include <algorithm>
#include <string>

namespace awq::backend::cuda {

struct BuiltFor {
  int capability;     // x 10
  bool machine_code;  // runs on the same major version, same or later minor
  bool ptx;           // the driver compiles it for any later chip
  bool only;          // "90a": that chip and no other
};

constexpr bool runs_on(const BuiltFor& code, int device) {
  if (code.only) return code.capability == device;
  if (code.capability > device) return false;
  return code.ptx || (code.machine_code && code.capability / 10 == device / 10);
}

// The newest capability whose code runs on `device` (x 10), or 0.
template <class List>
constexpr int usable_capability(const List& list, int device) {
  int best = 0;
  for (const BuiltFor& code : list)
    if (runs_on(code, device)) best = std::max(best, code.capability);
  return best;
}

template <class List>
std::string capabilities_of(const List& list) {
  std::string text;
  for (const BuiltFor& code : list)
    text +=
        (text.empty() ? "" : ", ") + std::to_string(code.capability / 10) + "." + std::to_string(code.capability % 10);
  return text;
}

}  // namespace awq::backend::cuda
