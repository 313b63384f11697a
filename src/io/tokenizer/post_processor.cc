#include "io/tokenizer/post_processor.h"

#include <algorithm>

#include "io/tokenizer/json_fields.h"

namespace awq::io {

PostProcessor::PostProcessor(const Json& json, int32_t end_id) {
  if (!json.is_null()) read(json, end_id);
}

void PostProcessor::read(const Json& json, int32_t end_id) {
  const std::string_view type = type_of(json);
  if (type == "ByteLevel") return;  // trims offsets, which we do not report
  if (type == "TemplateProcessing") return read_template(json, end_id);
  if (type != "Sequence") {
    refuse("the post-processor " + printable(type) +
           " is not supported (supported: ByteLevel, Sequence, TemplateProcessing)");
  }
  for (const Json& step : array_field(json, "processors")) {
    if (type_of(step) == "Sequence") refuse("a Sequence inside a Sequence of post-processors is not supported");
    read(step, end_id);
  }
}

void PostProcessor::read_template(const Json& json, int32_t end_id) {
  if (!steps_.empty()) refuse("two TemplateProcessing post-processors are not supported");
  const Json& special_tokens = field(json, "special_tokens");
  for (const Json& piece : array_field(json, "single")) {
    if (const Json* sequence = piece.find("Sequence")) {
      if (string_field(*sequence, "id") != "A") refuse("the template for a single text names a second text");
      steps_.push_back({true, {}});
      continue;
    }
    const std::string& name = string_field(field(piece, "SpecialToken"), "id");
    const Json* token = special_tokens.find(name);
    if (!token) refuse("the template uses the special token " + printable(name) + ", which it does not define");
    Step step{false, {}};
    for (const Json& id : array_field(*token, "ids")) {
      if (!id.integer() || *id.integer() < 0 || *id.integer() >= end_id) {
        refuse("the template's special token " + printable(name) + " has an id that is not in the vocabulary");
      }
      step.ids.push_back(static_cast<int32_t>(*id.integer()));
    }
    steps_.push_back(std::move(step));
  }
  const auto is_text = [](const Step& step) { return step.is_text; };
  if (std::count_if(steps_.begin(), steps_.end(), is_text) != 1)
    refuse("the template must contain the text exactly once");
}

std::vector<int32_t> PostProcessor::add_special_tokens(std::vector<int32_t> ids) const {
  if (steps_.empty()) return ids;
  std::vector<int32_t> out;
  out.reserve(ids.size() + steps_.size());
  for (const Step& step : steps_) {
    const std::vector<int32_t>& part = step.is_text ? ids : step.ids;
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

}  // namespace awq::io
