// The parts of the extension module awq_cpp._core; each file declares its own types and functions.
#pragma once
#include <nanobind/nanobind.h>

namespace awq::python {

namespace nb = nanobind;

void bind_checkpoint_files(nb::module_&);
void bind_errors(nb::module_&);
void bind_devices(nb::module_&);
void bind_quantize(nb::module_&);
void bind_inspect(nb::module_&);
void bind_model(nb::module_&);
void bind_generation(nb::module_&);
void bind_kernels(nb::module_&);

}  // namespace awq::python
