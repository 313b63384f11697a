#include "io/tokenizer/pre_tokenizer.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/split_behavior.h"
#include "io/tokenizer/text_pattern.h"
#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/utf8.h"
#include "io/tokenizer/word_scanners.h"

namespace awq::io {
namespace {

using PreTokenizerPtr = std::unique_ptr<PreTokenizer>;

// The common case of Split, whose words need no list: every position matches and every match is a word.
class ScannedWords : public PreTokenizer {
 public:
  explicit ScannedWords(WordScanner scan) : scan_(scan) {}
  void split(Piece piece, PieceSink& sink) const override {
    const char* const end = piece.text.data() + piece.text.size();
    for (const char* p = piece.text.data(); p < end;) {
      const char* const stop = scan_(p, end);
      sink({{p, static_cast<size_t>(stop - p)}, piece.at_start && p == piece.text.data()});
      p = stop;
    }
  }

 private:
  WordScanner scan_;
};

class Split : public PreTokenizer {
 public:
  explicit Split(const Json& json)
      : pattern_(make_text_pattern(field(json, "pattern"))),
        behavior_(split_behavior(string_field(json, "behavior"))),
        invert_(bool_field(json, "invert", false)) {}
  void split(Piece piece, PieceSink& sink) const override {
    std::vector<Segment> segments = pattern_->segments(piece.text);
    if (invert_) {
      for (Segment& segment : segments) segment.is_match = !segment.is_match;
    }
    for (const Segment& s : behavior_(segments)) {
      if (s.begin < s.end) sink({piece.text.substr(s.begin, s.end - s.begin), piece.at_start && s.begin == 0});
    }
  }

 private:
  std::unique_ptr<TextPattern> pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

PreTokenizerPtr make_split(const Json& json) {
  const Json* regex = field(json, "pattern").find("Regex");
  const WordPattern* row = regex && regex->string() ? find_word_pattern(*regex->string()) : nullptr;
  if (row && string_field(json, "behavior") == "Isolated") return std::make_unique<ScannedWords>(row->scan);
  return std::make_unique<Split>(json);
}

// Runs of digits, or each digit, apart from the rest.
class Digits : public PreTokenizer {
 public:
  explicit Digits(const Json& json) : one_by_one_(bool_field(json, "individual_digits", false)) {}
  void split(Piece piece, PieceSink& sink) const override {
    const char* const text = piece.text.data();
    const char* const end = text + piece.text.size();
    const auto is_digit = [](const char* p) { return (char_classes()[next_code_point(p)] & kNumeric) != 0; };
    for (const char *p = text, *next; p < end; p = next) {
      next = p + utf8_length(*p);
      const bool digit = is_digit(p);
      while (next < end && is_digit(next) == digit && !(digit && one_by_one_)) next += utf8_length(*next);
      sink({{p, static_cast<size_t>(next - p)}, piece.at_start && p == text});
    }
  }

 private:
  bool one_by_one_;
};

// Splits like GPT-2 when asked to. That its words become characters of the byte alphabet is the model's affair.
class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const Json& json)
      : add_prefix_space_(bool_field(json, "add_prefix_space", true)),
        words_(bool_field(json, "use_regex", true) ? std::make_unique<ScannedWords>(word_patterns()[0].scan)
                                                   : nullptr) {}
  void split(Piece piece, PieceSink& sink) const override {
    if (!add_prefix_space_ || piece.text[0] == ' ') return split_words(piece, sink);
    std::string prefixed(1, ' ');
    prefixed += piece.text;
    split_words({prefixed, piece.at_start}, sink);
  }

 private:
  void split_words(Piece piece, PieceSink& sink) const {
    if (words_)
      words_->split(piece, sink);
    else
      sink(piece);
  }

  bool add_prefix_space_;
  std::unique_ptr<ScannedWords> words_;
};

// Spaces become `replacement`, which also starts every word.
class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const Json& json) : split_(bool_field(json, "split", true)), scheme_(prepend_scheme(json)) {
    append_utf8(replacement_, character_field(json, "replacement"));
  }
  void split(Piece piece, PieceSink& sink) const override {
    std::string marked;
    for (char c : piece.text) {
      if (c == ' ')
        marked += replacement_;
      else
        marked += c;
    }
    const bool prepend = scheme_ == Scheme::kAlways || (scheme_ == Scheme::kFirst && piece.at_start);
    if (prepend && !marked.starts_with(replacement_)) marked.insert(0, replacement_);
    const std::string_view text = marked;
    for (size_t begin = 0, end; begin < text.size(); begin = end) {
      end = split_ ? std::min(text.find(replacement_, begin + 1), text.size()) : text.size();
      sink({text.substr(begin, end - begin), piece.at_start && begin == 0});
    }
  }

 private:
  enum class Scheme { kAlways, kFirst, kNever };
  static Scheme prepend_scheme(const Json& json) {
    if (!json.find("prepend_scheme"))
      return bool_field(json, "add_prefix_space", true) ? Scheme::kAlways : Scheme::kNever;
    const std::string& name = string_field(json, "prepend_scheme");
    if (name == "always") return Scheme::kAlways;
    if (name == "first") return Scheme::kFirst;
    if (name == "never") return Scheme::kNever;
    refuse("the prepend_scheme " + printable(name) + " is not supported (supported: always, first, never)");
  }

  std::string replacement_;
  bool split_;
  Scheme scheme_;
};

template <class Step>
PreTokenizerPtr make(const Json& json) {
  return std::make_unique<Step>(json);
}

PreTokenizerPtr make_sequence(const Json& json);

constexpr PartRow<PreTokenizerPtr> kPreTokenizers[] = {
    {"ByteLevel", make<ByteLevel>}, {"Digits", make<Digits>}, {"Metaspace", make<Metaspace>},
    {"Sequence", make_sequence},    {"Split", make_split},
};

constexpr size_t kMaxSteps = 32;  // each is a stack frame while a word is on its way

// Each step splits the pieces of the one before.
class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<PreTokenizerPtr> steps) : steps_(std::move(steps)) {}
  void split(Piece piece, PieceSink& sink) const override { run(0, piece, sink); }

 private:
  struct NextStep : PieceSink {
    NextStep(const Sequence& s, size_t i, PieceSink& out) : sequence(s), step(i), sink(out) {}
    void operator()(Piece piece) override { sequence.run(step, piece, sink); }
    const Sequence& sequence;
    size_t step;
    PieceSink& sink;
  };
  void run(size_t step, Piece piece, PieceSink& sink) const {
    if (step == steps_.size()) return sink(piece);
    if (step + 1 == steps_.size()) return steps_[step]->split(piece, sink);
    NextStep next(*this, step + 1, sink);
    steps_[step]->split(piece, next);
  }
  std::vector<PreTokenizerPtr> steps_;
};

// ByteLevel rewrites its pieces, so what follows it would see other characters than the ones we keep.
void require_byte_level_last(const Json::Array& steps) {
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    if (type_of(steps[i]) == "ByteLevel") refuse("a pre-tokenizer behind ByteLevel is not supported");
  }
}

PreTokenizerPtr make_sequence(const Json& json) {
  const Json::Array& list = array_field(json, "pretokenizers");
  if (list.size() > kMaxSteps)
    refuse(fmt::format("a Sequence of more than {} pre-tokenizers is not supported", kMaxSteps));
  require_byte_level_last(list);
  std::vector<PreTokenizerPtr> steps;
  for (const Json& step : list) {
    if (type_of(step) == "Sequence") refuse("a Sequence inside a Sequence of pre-tokenizers is not supported");
    steps.push_back(make_part<PreTokenizerPtr>(kPreTokenizers, step, "pre-tokenizer"));
  }
  return std::make_unique<Sequence>(std::move(steps));
}

bool ends_with_byte_level(const Json& json) {
  if (type_of(json) != "Sequence") return type_of(json) == "ByteLevel";
  const Json::Array& list = array_field(json, "pretokenizers");
  return !list.empty() && ends_with_byte_level(list.back());
}

}  // namespace

PreTokenizerChoice make_pre_tokenizer(const Json& json) {
  if (json.is_null()) return {};
  return {make_part<PreTokenizerPtr>(kPreTokenizers, json, "pre-tokenizer"), ends_with_byte_level(json)};
}

}  // namespace awq::io
