// Paths of Python: str and os.PathLike in, pathlib.Path out. nanobind has the same, under a type that mypy --strict
// refuses.
#pragma once
#include <nanobind/nanobind.h>

#include <filesystem>
#include <string>

NAMESPACE_BEGIN(NB_NAMESPACE)
NAMESPACE_BEGIN(detail)

template <>
struct type_caster<std::filesystem::path> {
  NB_TYPE_CASTER(std::filesystem::path, io_name("str | os.PathLike[str]", "pathlib.Path"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    PyObject* bytes = nullptr;
    if (PyUnicode_FSConverter(source.ptr(), &bytes) == 0) {
      PyErr_Clear();
      return false;
    }
    const object owner = steal(bytes);
    value = std::string(PyBytes_AsString(bytes), static_cast<size_t>(PyBytes_Size(bytes)));
    return true;
  }

  static handle from_cpp(const std::filesystem::path& path, rv_policy, cleanup_list*) noexcept {
    PyObject* text = PyUnicode_DecodeFSDefaultAndSize(path.c_str(), static_cast<Py_ssize_t>(path.native().size()));
    if (text == nullptr) return {};
    const object owner = steal(text);
    try {
      return module_::import_("pathlib").attr("Path")(owner).release();
    } catch (python_error& error) {
      error.restore();
      return {};
    }
  }
};

NAMESPACE_END(detail)
NAMESPACE_END(NB_NAMESPACE)
