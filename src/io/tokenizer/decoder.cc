#include "io/tokenizer/decoder.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>

#include "io/tokenizer/byte_alphabet.h"
#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/text_pattern.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

using DecoderPtr = std::unique_ptr<Decoder>;
using Texts = std::vector<std::string>;

std::string joined(const Texts& texts) {
  std::string out;
  for (const std::string& text : texts) out += text;
  return out;
}

// Characters of the byte alphabet to bytes; a token with any other character stands for itself.
class ByteLevel : public Decoder {
 public:
  explicit ByteLevel(const Json&) {}
  Texts apply(Texts tokens) const override {
    std::string bytes, repaired;
    for (const std::string& token : tokens) bytes += characters_to_bytes(token).value_or(token);
    return {std::string(valid_utf8(bytes, repaired))};
  }
};

class Replace : public Decoder {
 public:
  explicit Replace(const Json& json)
      : pattern_(make_text_pattern(field(json, "pattern"))), content_(inserted_field(json, "content")) {}
  Texts apply(Texts tokens) const override {
    for (std::string& token : tokens) token = pattern_->replace(token, content_);
    return tokens;
  }

 private:
  std::unique_ptr<TextPattern> pattern_;
  std::string content_;
};

// The byte that "<0xNN>" stands for. A plus sign passes for a digit in the package's number parser, so it does here.
std::optional<char> byte_of(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const char* const first = token.data() + (token[3] == '+' ? 4 : 3);
  unsigned value = 0;
  const auto [stop, error] = std::from_chars(first, token.data() + 5, value, 16);
  if (error != std::errc() || stop != token.data() + 5) return std::nullopt;
  return static_cast<char>(value);
}

// Byte tokens in a row to the text they spell, or to one U+FFFD each when they spell none.
class ByteFallback : public Decoder {
 public:
  explicit ByteFallback(const Json&) {}
  Texts apply(Texts tokens) const override {
    Texts out;
    std::string bytes, repaired;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (valid_utf8(bytes, repaired).data() == bytes.data())
        out.push_back(bytes);
      else
        out.insert(out.end(), bytes.size(), "\uFFFD");
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of(token)) {
        bytes += *byte;
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    return out;
  }
};

class Fuse : public Decoder {
 public:
  explicit Fuse(const Json&) {}
  Texts apply(Texts tokens) const override { return {joined(tokens)}; }
};

// Takes up to `start` times the character from the front of each token and up to `stop` times from its end.
class Strip : public Decoder {
 public:
  explicit Strip(const Json& json)
      : start_(integer_field(json, "start", 0, INT32_MAX)), stop_(integer_field(json, "stop", 0, INT32_MAX)) {
    append_utf8(content_, character_field(json, "content"));
  }
  Texts apply(Texts tokens) const override {
    for (std::string& token : tokens) {
      std::string_view text = token;
      for (int64_t i = 0; i < start_ && text.starts_with(content_); ++i) text.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && text.ends_with(content_); ++i) text.remove_suffix(content_.size());
      token = std::string(text);
    }
    return tokens;
  }

 private:
  std::string content_;
  int64_t start_, stop_;
};

// The mark becomes a space again, except in the first token when the encoder put one in front of the text.
class Metaspace : public Decoder {
 public:
  explicit Metaspace(const Json& json) {
    append_utf8(mark_, character_field(json, "replacement"));
    const Json* scheme = json.find("prepend_scheme");
    prepends_ = scheme ? string_field(json, "prepend_scheme") != "never" : bool_field(json, "add_prefix_space", true);
  }
  Texts apply(Texts tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string out;
      for (size_t at = 0; at < tokens[i].size();) {
        if (tokens[i].compare(at, mark_.size(), mark_) == 0) {
          if (i > 0 || !prepends_) out += ' ';
          at += mark_.size();
        } else {
          out += tokens[i][at++];
        }
      }
      tokens[i] = std::move(out);
    }
    return tokens;
  }

 private:
  std::string mark_;
  bool prepends_;
};

template <class Step>
DecoderPtr make(const Json& json) {
  return std::make_unique<Step>(json);
}
DecoderPtr make_sequence(const Json& json);

constexpr PartRow<DecoderPtr> kDecoders[] = {
    {"ByteFallback", make<ByteFallback>},
    {"ByteLevel", make<ByteLevel>},
    {"Fuse", make<Fuse>},
    {"Metaspace", make<Metaspace>},
    {"Replace", make<Replace>},
    {"Sequence", make_sequence},
    {"Strip", make<Strip>},
};

class Sequence : public Decoder {
 public:
  explicit Sequence(std::vector<DecoderPtr> steps) : steps_(std::move(steps)) {}
  Texts apply(Texts tokens) const override {
    for (const DecoderPtr& step : steps_) tokens = step->apply(std::move(tokens));
    return tokens;
  }

 private:
  std::vector<DecoderPtr> steps_;
};

DecoderPtr make_sequence(const Json& json) {
  std::vector<DecoderPtr> steps;
  for (const Json& step : array_field(json, "decoders"))
    steps.push_back(make_part<DecoderPtr>(kDecoders, step, "decoder"));
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace

DecoderPtr make_decoder(const Json& json) {
  return json.is_null() ? nullptr : make_part<DecoderPtr>(kDecoders, json, "decoder");
}

}  // namespace awq::io
