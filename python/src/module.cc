#include "module.h"

// The public names are in awq_cpp/__init__.py; docs/python.md is made of the docstrings.
NB_MODULE(_core, m) {
  m.doc() = "The C++ core of awq_cpp. Use the names of the package awq_cpp; these are the same objects.";
  m.attr("version") = AWQ_VERSION;
  awq::python::bind_errors(m);
  awq::python::bind_devices(m);
  awq::python::bind_quantize(m);
  awq::python::bind_inspect(m);
  awq::python::bind_checkpoint_files(m);
  awq::python::bind_generation(m);
  awq::python::bind_model(m);
  awq::python::bind_kernels(m);
}
