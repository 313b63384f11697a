// Text to words: the parts inside which the model merges.
#pragma once
#include <memory>
#include <string_view>

namespace awq::io {

class Json;

// A part of the text on its way to the model. `at_start`: nothing of the text came before it, tokens included.
struct Piece {
  std::string_view text;  // not empty; valid until the sink returns
  bool at_start;
};

class PieceSink {
 public:
  virtual void operator()(Piece piece) = 0;

 protected:
  ~PieceSink() = default;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void split(Piece piece, PieceSink& sink) const = 0;
};

struct PreTokenizerChoice {
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // nullptr: the text is one word
  bool byte_level = false;                      // the vocabulary writes bytes (byte_alphabet.h)
};
// From the file's "pre_tokenizer", which may be null.
PreTokenizerChoice make_pre_tokenizer(const Json& pre_tokenizer);

}  // namespace awq::io
