// A checkpoint small enough to quantize in a moment: llama with random weights and the demo model's tokenizer, in a
// folder of its own that disappears with it. Tests spoil one thing of it.
#pragma once
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace awq::test {

class TinyModel {
 public:
  explicit TinyModel(int hidden = 64, int intermediate = 128);
  ~TinyModel();
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  std::filesystem::path root() const { return root_; }  // of everything the test writes
  std::string model() const { return (root_ / "model").string(); }
  std::string out() const { return (root_ / "out").string(); }
  std::string text() const { return (root_ / "text.txt").string(); }  // some 13 000 tokens

  std::filesystem::path weights() const { return root_ / "model" / "model.safetensors"; }
  void edit_config(const std::function<void(nlohmann::ordered_json&)>&) const;
  // The safetensors header as JSON, and the data behind it.
  void edit_weights(const std::function<void(nlohmann::ordered_json& header, std::string& data)>&) const;
  void overwrite(const std::filesystem::path&, size_t at, const std::string& bytes) const;

 private:
  std::filesystem::path root_;
};

std::string read_bytes(const std::filesystem::path&);
void write_bytes(const std::filesystem::path&, const std::string&);

}  // namespace awq::test
