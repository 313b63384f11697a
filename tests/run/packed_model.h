// models/demo rounded to 4 bits, written twice: packed, and as the float32 weights that the codes stand for.
#pragma once
#include <stdlib.h>

#include <filesystem>
#include <map>

#include "core/half.h"
#include "format/registry.h"
#include "format/rounding.h"
#include "format/salient.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "model/architectures.h"
#include "source_dir.h"

namespace awq::test {

class TempFolder {
 public:
  TempFolder() : path_((std::filesystem::temp_directory_path() / "awq-run-XXXXXX").string()) {
    path_ = ::mkdtemp(path_.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::filesystem::path path() const { return path_; }

 private:
  std::string path_;
};

class TensorFile {  // collects tensors, then writes one file
 public:
  template <class T>
  void add(const std::string& name, Dtype dtype, std::vector<int64_t> shape, const std::vector<T>& data) {
    const auto bytes = std::as_bytes(std::span(data));
    specs_.push_back({name, dtype, std::move(shape)});
    data_.emplace_back(bytes.begin(), bytes.end());
  }
  void write(const std::filesystem::path& path) const {
    io::SafetensorsWriter writer(path, specs_);
    for (const auto& bytes : data_) writer.write(bytes);
    writer.commit();
  }

 private:
  std::vector<io::TensorSpec> specs_;
  std::vector<std::vector<std::byte>> data_;
};

struct PackedDemo {
  // `salient`: that many channels of every linear get the fp16 correction (the first ones).
  explicit PackedDemo(const QuantConfig& quant, int salient = 0) {
    const io::Checkpoint demo(demo_folder());
    const model::ModelConfig config = model::parse_config(demo.config_text(), "config.json");
    TensorFile packed_file, float_file, salient_file;
    std::map<std::string, model::LinearShape> linears;
    for (int64_t layer = 0; layer < config.layers; ++layer)
      for (const model::LinearShape& l : model::block_linears(config))
        linears[model::block_prefix(layer) + l.name + ".weight"] = l;
    for (const std::string& name : demo.names()) {
      std::vector<float> values = demo.read_f32(name);
      const auto linear = linears.find(name);
      if (linear == linears.end()) {
        packed_file.add(name, Dtype::kF32, demo.info(name).shape, values);
        float_file.add(name, Dtype::kF32, demo.info(name).shape, values);
        continue;
      }
      const std::string module = name.substr(0, name.size() - 7);
      const format::QuantizedLinear q = rounded(values, linear->second, quant);
      for (const format::EncodedTensor& t : format::layout(quant.version).encode(q))
        packed_file.add(module + "." + t.suffix, t.dtype, t.shape, t.bytes);
      const std::vector<float> original = values;
      for (int64_t n = 0; n < q.n; ++n)
        for (int64_t k = 0; k < q.k; ++k) values[n * q.k + k] = q.dequantized(n, k);
      if (salient > 0) correct(module, original, q, salient, values, salient_file);
      float_file.add(name, Dtype::kF32, demo.info(name).shape, values);
    }
    packed_file.write(packed.path() / "model.safetensors");
    float_file.write(floats.path() / "model.safetensors");
    if (salient > 0) salient_file.write(packed.path() / format::kSalientFile);
    io::write_file(floats.path() / "config.json", demo.config_text());
    io::write_file(packed.path() / "config.json",
                   io::with_member(demo.config_text(), "quantization_config", format::quantization_config_json(quant)));
  }

  static format::QuantizedLinear rounded(const std::vector<float>& w, const model::LinearShape& shape,
                                         const QuantConfig& quant) {
    format::QuantizedLinear q;
    q.n = shape.n, q.k = shape.k, q.group = quant.group_size, q.bits = quant.bits;
    q.q.resize(q.n * q.k), q.scales.resize(q.n * q.groups()), q.zeros.resize(q.n * q.groups());
    format::quantize_rows({w.data(), q.n, q.k}, 0, q.n, {}, {quant.bits, quant.group_size, quant.zero_point}, q);
    return q;
  }

  static void correct(const std::string& module, const std::vector<float>& original, const format::QuantizedLinear& q,
                      int count, std::vector<float>& values, TensorFile& file) {
    std::vector<int32_t> index;
    std::vector<f16_t> delta;
    for (int32_t c = 0; c < count; ++c) {
      index.push_back(c);
      for (int64_t n = 0; n < q.n; ++n) {
        delta.push_back(f32_to_f16(original[n * q.k + c] - q.dequantized(n, c)));
        values[n * q.k + c] += f16_to_f32(delta.back());
      }
    }
    file.add(module + ".salient_index", Dtype::kI32, {count}, index);
    file.add(module + ".salient_delta", Dtype::kF16, {count, q.n}, delta);
  }

  TempFolder packed, floats;
};

}  // namespace awq::test
