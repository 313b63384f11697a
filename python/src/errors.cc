// awq::Error becomes the class of awq_cpp/errors.py that has its exit code, with the same text.
#include "awq/error.h"

#include "module.h"

namespace awq::python {

void bind_errors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& failure, void*) {
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      const nb::object classes = nb::module_::import_("awq_cpp.errors").attr("by_exit_code");
      const nb::object type = classes[nb::int_(static_cast<int>(error.kind()))];
      PyErr_SetObject(type.ptr(), type(error.what()).ptr());
    }
  });
}

}  // namespace awq::python
