// Text to the text that the model knows: Unicode forms, case, marks for spaces.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace awq::io {

class Json;

// A text on its way through the normalizers. `at_start`: its first character comes from the start of the whole text.
struct NormalizedText {
  std::string text;
  bool at_start;
};

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalizedText& text) const = 0;
  std::string normalized(std::string text) const {
    NormalizedText t{std::move(text), true};
    apply(t);
    return std::move(t.text);
  }
};

// From the file's "normalizer"; nullptr when it is null.
std::unique_ptr<Normalizer> make_normalizer(const Json& normalizer);

}  // namespace awq::io
