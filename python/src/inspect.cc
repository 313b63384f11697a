#include "awq/inspect.h"

#include <fmt/format.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "awq/convert.h"
#include "choices.h"
#include "long_call.h"
#include "model/architectures.h"
#include "module.h"
#include "path_caster.h"

namespace awq::python {
namespace {

using namespace nb::literals;
namespace fs = std::filesystem;

void bind_checkpoint_info(nb::module_& m) {
  nb::class_<ModuleInfo>(m, "ModuleInfo", "A module of a checkpoint.")
      .def_ro("name", &ModuleInfo::name)
      .def_ro("format", &ModuleInfo::format, "the layout it is packed in, or the dtype of its weight")
      .def_ro("quantized", &ModuleInfo::quantized)
      .def_ro("bits", &ModuleInfo::bits)
      .def_ro("group_size", &ModuleInfo::group_size)
      .def_ro("shape", &ModuleInfo::shape, "(output features, input features), or the shape of its weight")
      .def_ro("weights", &ModuleInfo::weights)
      .def_ro("bytes", &ModuleInfo::bytes)
      .def_ro("fp16_channels", &ModuleInfo::fp16_channels, "input channels that `keep_fp16` keeps exact");
  nb::class_<ServeCheck>(m, "ServeCheck", "Whether engines can serve a checkpoint on a number of GPUs.")
      .def_ro("gpus", &ServeCheck::gpus)
      .def_ro("refusals", &ServeCheck::refusals, "why it does not load on so many")
      .def_ro("slower", &ServeCheck::slower, "why the fastest kernels do not run it there");
  nb::class_<CheckpointInfo>(m, "CheckpointInfo", "What is in a checkpoint.")
      .def_ro("folder", &CheckpointInfo::folder)
      .def_ro("architecture", &CheckpointInfo::architecture)
      .def_ro("layout", &CheckpointInfo::layout, "empty for a checkpoint that is not quantized")
      .def_ro("bits", &CheckpointInfo::bits)
      .def_ro("group_size", &CheckpointInfo::group_size)
      .def_ro("modules", &CheckpointInfo::modules)
      .def_ro("bytes", &CheckpointInfo::bytes)
      .def_ro("weights", &CheckpointInfo::weights)
      .def_ro("bits_per_weight", &CheckpointInfo::bits_per_weight, "of the whole checkpoint")
      .def_ro("quantized_bits_per_weight", &CheckpointInfo::quantized_bits_per_weight)
      .def_ro("serving", &CheckpointInfo::serving, "a ServeCheck for each number of GPUs that was asked about")
      .def_ro("serving_remedy", &CheckpointInfo::serving_remedy, "what to do about the refusals, or empty")
      .def_ro("warnings", &CheckpointInfo::warnings);
}

// "" for an architecture that can be quantized, else which can.
std::string architecture_refusal(const std::string& hf_name, const std::string& model_type) {
  if (model::find_architecture(hf_name) != nullptr) return "";
  if (hf_name.empty() && model::find_model_type(model_type) != nullptr) return "";
  return "supported: " + model::supported_architectures();
}

}  // namespace

void bind_inspect(nb::module_& m) {
  bind_checkpoint_info(m);
  m.def(
      "inspect",
      [](const fs::path& model, const std::vector<int>& serve_tp) { return inspect(model.string(), serve_tp); },
      "model"_a, nb::kw_only(), "serve_tp"_a = std::vector<int>(), nb::call_guard<nb::gil_scoped_release>(),
      "Format, shape, size and bits per weight of every module of a checkpoint, from its headers alone; with "
      "`serve_tp` also whether vLLM and SGLang can serve it on those numbers of GPUs.");
  m.def(
      "convert",
      [](const fs::path& model, const fs::path& out, const std::string& to, bool force, uint64_t max_shard_bytes) {
        ConvertOptions options;
        options.model = model.string();
        options.out = out;
        options.to = layout_named(to);
        options.force = force;
        options.max_shard_bytes = max_shard_bytes;
        LongCall call;
        options.stop = call.stop();
        return call.run([&] { return convert(options); }).out;
      },
      "model"_a, "out"_a, "to"_a, nb::kw_only(), "force"_a = false, "max_shard_bytes"_a = uint64_t{5'000'000'000},
      "Writes an AWQ checkpoint in another packed layout, the same weights bit for bit; returns `out`.");
  m.def("architecture_refusal", &architecture_refusal, "hf_name"_a, "model_type"_a = "");
}

}  // namespace awq::python
