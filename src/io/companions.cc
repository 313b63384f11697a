#include "io/companions.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "io/file.h"

namespace awq::io {
namespace {

constexpr std::string_view kWeightSuffixes[] = {".safetensors", ".safetensors.index.json",
                                                ".bin",         ".bin.index.json",
                                                ".pt",          ".pth",
                                                ".ckpt",        ".gguf",
                                                ".h5",          ".msgpack",
                                                ".onnx",        ".onnx_data",
                                                ".ot"};

bool is_companion(const std::string& name) {
  if (name.starts_with('.') || name == "config.json" || name == "awq_report.json") return false;
  if (name == "hf_quant_config.json") return false;  // of the layout that the input is in
  return std::none_of(std::begin(kWeightSuffixes), std::end(kWeightSuffixes),
                      [&](std::string_view suffix) { return name.ends_with(suffix); });
}

}  // namespace

void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry :
       std::filesystem::directory_iterator(from))  // follows the Hugging Face cache's symbolic links
    if (entry.is_regular_file() && is_companion(entry.path().filename().string())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const auto& file : files) io::copy_file(file, to / file.filename());
}

}  // namespace awq::io
