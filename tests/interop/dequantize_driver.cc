// dequantize_driver FOLDER OUT.safetensors: the weights that the packed linears of a checkpoint stand for, in float32.
// What the Python tests beside it compare other readers with.
#include <cstdio>
#include <map>
#include <vector>

#include "awq/error.h"
#include "format/awq_checkpoint.h"
#include "model/architectures.h"

namespace {

using namespace awq;

std::vector<float> dequantized(const format::QuantizedLinear& w) {
  std::vector<float> out;
  out.reserve(w.q.size());
  for (int64_t n = 0; n < w.n; ++n)
    for (int64_t k = 0; k < w.k; ++k) out.push_back(w.dequantized(n, k));
  return out;
}

void write_weights(const char* folder, const char* out) {
  const io::Checkpoint checkpoint(folder);
  const model::ModelConfig config = model::parse_config(checkpoint.config_text(), "config.json");
  std::map<std::string, model::LinearShape> linears;  // by module
  std::vector<io::TensorSpec> specs;
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const model::LinearShape& linear : model::block_linears(config))
      if (const std::string module = model::block_prefix(layer) + linear.name; model::is_packed(checkpoint, module)) {
        linears[module] = linear;
        specs.push_back({module + ".weight", Dtype::kF32, {linear.n, linear.k}});
      }
  io::SafetensorsWriter writer(out, specs);
  for (const io::TensorSpec& spec : specs) {
    const std::string module = spec.name.substr(0, spec.name.rfind('.'));
    const model::LinearShape& linear = linears.at(module);
    const std::vector<float> weights = dequantized(format::read_linear(checkpoint, config, module, linear.n, linear.k));
    writer.write(std::as_bytes(std::span(weights)));
  }
  writer.commit();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    write_weights(argv[1], argv[2]);
  } catch (const awq::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
  return 0;
}
