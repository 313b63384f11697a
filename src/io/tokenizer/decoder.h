// Tokens back to text.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace awq::io {

class Json;

class Decoder {
 public:
  virtual ~Decoder() = default;
  // The texts of the tokens, in order, to texts that are joined in the end.
  virtual std::vector<std::string> apply(std::vector<std::string> tokens) const = 0;
};

// From the file's "decoder"; nullptr when it is null: then tokens are joined by spaces.
std::unique_ptr<Decoder> make_decoder(const Json& decoder);

}  // namespace awq::io
