// Text and weight files for the Python layers above: the calls of io/ that they build on.
#include <fmt/format.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "io/checkpoint.h"
#include "io/corpus.h"
#include "io/safetensors.h"
#include "long_call.h"
#include "module.h"
#include "path_caster.h"

namespace awq::python {
namespace {

using namespace nb::literals;
namespace fs = std::filesystem;

std::vector<io::TensorSpec> specs_of(const io::Checkpoint& checkpoint) {
  std::vector<io::TensorSpec> specs;
  for (const std::string& name : checkpoint.names_in_file_order()) {
    const io::TensorInfo& info = checkpoint.info(name);
    specs.push_back({.name = name, .dtype = info.dtype, .shape = info.shape});
  }
  return specs;
}

// The same tensors in files of another size; returns the names of the files.
std::vector<std::string> write_shards(const fs::path& from, const fs::path& to, uint64_t max_shard_bytes) {
  const io::Checkpoint checkpoint(from);
  const std::vector<io::Shard> shards = io::plan_shards(specs_of(checkpoint), max_shard_bytes);
  std::vector<std::string> names;
  std::vector<std::byte> bytes;
  for (const io::Shard& shard : shards) {
    io::SafetensorsWriter writer(to / shard.file, shard.tensors);
    for (const io::TensorSpec& tensor : shard.tensors) {
      bytes.resize(tensor.bytes());
      checkpoint.read_bytes(tensor.name, bytes);
      writer.write(bytes);
    }
    writer.commit();
    names.push_back(shard.file);
  }
  if (shards.size() > 1) {
    names.emplace_back("model.safetensors.index.json");
    io::write_file(to / names.back(), io::index_json(shards));
  }
  return names;
}

}  // namespace

void bind_checkpoint_files(nb::module_& m) {
  m.def(
      "read_documents",
      [](const fs::path& path, const std::string& text_column) {
        return io::read_documents({.path = path.string(), .text_column = text_column});
      },
      "path"_a, "text_column"_a = "text", nb::call_guard<nb::gil_scoped_release>(),
      "The documents of a .txt or .jsonl[.gz|.zst] file or a folder of those, in order.");
  m.def(
      "read_text",
      [](const fs::path& path, const std::string& text_column) {
        return fmt::format("{}",
                           fmt::join(io::read_documents({.path = path.string(), .text_column = text_column}), "\n\n"));
      },
      "path"_a, "text_column"_a = "text", nb::call_guard<nb::gil_scoped_release>(),
      "The same documents as one text, joined by an empty line: what `awq eval --text` scores.");
  m.def(
      "builtin_text", [] { return std::string(io::builtin_text()); }, "The built-in calibration sample.");
  m.def(
      "resolve_model", [](const fs::path& model) { return io::resolve_model(model.string()); }, "model"_a,
      "The folder of a model: itself, or the snapshot in the local Hugging Face cache of org/name.");
  m.def(
      "write_shards",
      [](const fs::path& from, const fs::path& to, uint64_t max_shard_bytes) {
        LongCall call;
        return call.run([&] { return write_shards(from, to, max_shard_bytes); });
      },
      "source"_a, "target"_a, "max_shard_bytes"_a, "The weights of a checkpoint in files of at most that size.");
}

}  // namespace awq::python
