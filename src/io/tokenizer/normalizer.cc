#include "io/tokenizer/normalizer.h"

#include <vector>

#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/text_pattern.h"
#include "io/tokenizer/unicode_classes.h"
#include "io/tokenizer/unicode_forms.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

using NormalizerPtr = std::unique_ptr<Normalizer>;

template <UnicodeForm kForm>
class Form : public Normalizer {
 public:
  explicit Form(const Json&) {}
  void apply(NormalizedText& t) const override { t.text = to_form(kForm, t.text); }
};

class Lowercase : public Normalizer {
 public:
  explicit Lowercase(const Json&) {}
  void apply(NormalizedText& t) const override {
    std::string out;
    out.reserve(t.text.size());
    const char* const end = t.text.data() + t.text.size();
    for (const char* p = t.text.data(); p < end;) {
      const char32_t c = next_code_point(p);
      append_utf8(out, to_lowercase(c));
      if (c == 0x130) append_utf8(out, 0x307);  // the dot of the Turkish capital I stays, as a mark
    }
    t.text = std::move(out);
  }
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(const Json& json) : prefix_(inserted_field(json, "prepend")) {}
  void apply(NormalizedText& t) const override {
    if (!t.text.empty()) t.text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  explicit Replace(const Json& json)
      : pattern_(make_text_pattern(field(json, "pattern"))), content_(inserted_field(json, "content")) {}
  void apply(NormalizedText& t) const override {
    bool removes_start = false;
    if (content_.empty()) {
      pattern_->find(t.text, [&](size_t begin, size_t end) { removes_start |= begin == 0 && end > 0; });
    }
    t.text = pattern_->replace(t.text, content_);
    t.at_start = t.at_start && !removes_start;
  }

 private:
  std::unique_ptr<TextPattern> pattern_;
  std::string content_;
};

class Strip : public Normalizer {
 public:
  explicit Strip(const Json& json)
      : left_(bool_field(json, "strip_left", true)), right_(bool_field(json, "strip_right", true)) {}
  void apply(NormalizedText& t) const override {
    const char* begin = t.text.data();
    const char* end = begin + t.text.size();
    const auto is_space = [](const char* p) { return (char_classes()[next_code_point(p)] & kSpace) != 0; };
    while (left_ && begin < end && is_space(begin)) begin += utf8_length(*begin);
    while (right_ && begin < end && is_space(previous_code_point(end))) end = previous_code_point(end);
    t.at_start = t.at_start && begin == t.text.data();
    t.text = std::string(begin, end);
  }

 private:
  bool left_, right_;
};

template <class Step>
NormalizerPtr make(const Json& json) {
  return std::make_unique<Step>(json);
}
NormalizerPtr make_sequence(const Json& json);

constexpr PartRow<NormalizerPtr> kNormalizers[] = {
    {"Lowercase", make<Lowercase>},
    {"NFC", make<Form<UnicodeForm::kNfc>>},
    {"NFD", make<Form<UnicodeForm::kNfd>>},
    {"NFKC", make<Form<UnicodeForm::kNfkc>>},
    {"NFKD", make<Form<UnicodeForm::kNfkd>>},
    {"Prepend", make<Prepend>},
    {"Replace", make<Replace>},
    {"Sequence", make_sequence},
    {"Strip", make<Strip>},
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<NormalizerPtr> steps) : steps_(std::move(steps)) {}
  void apply(NormalizedText& t) const override {
    for (const NormalizerPtr& step : steps_) step->apply(t);
  }

 private:
  std::vector<NormalizerPtr> steps_;
};

NormalizerPtr make_sequence(const Json& json) {
  std::vector<NormalizerPtr> steps;
  for (const Json& step : array_field(json, "normalizers")) {
    steps.push_back(make_part<NormalizerPtr>(kNormalizers, step, "normalizer"));
  }
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace

NormalizerPtr make_normalizer(const Json& json) {
  return json.is_null() ? nullptr : make_part<NormalizerPtr>(kNormalizers, json, "normalizer");
}

}  // namespace awq::io
