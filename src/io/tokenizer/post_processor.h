// The special tokens around a text.
#pragma once
#include <cstdint>
#include <vector>

namespace awq::io {

class Json;

class PostProcessor {
 public:
  PostProcessor() = default;  // adds nothing
  // From the file's "post_processor", which may be null. Error(kBadInput) when an id is not below `end_id`.
  PostProcessor(const Json& post_processor, int32_t end_id);

  std::vector<int32_t> add_special_tokens(std::vector<int32_t> ids) const;

 private:
  struct Step {
    bool is_text;
    std::vector<int32_t> ids;  // of a special token
  };
  void read(const Json& post_processor, int32_t end_id);
  void read_template(const Json& post_processor, int32_t end_id);

  std::vector<Step> steps_;  // none: the text alone
};

}  // namespace awq::io
