// How a waiting thread stays responsive.
#pragma once
#include <nanobind/nanobind.h>

#include <chrono>

namespace awq::python {

inline constexpr std::chrono::milliseconds kPoll{50};

// Runs the signal handlers of Python that are due; throws what they raise, KeyboardInterrupt above all. Needs the GIL.
inline void check_signals() {
  if (PyErr_CheckSignals() != 0) throw nanobind::python_error();
}

}  // namespace awq::python
