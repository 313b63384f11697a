#include "io/tokenizer/vocabulary.h"

#include <algorithm>
#include <random>

#include "io/tokenizer/json_fields.h"

namespace awq::io {

Vocabulary::Vocabulary() : ids_(0, Hash{std::random_device{}()}) {}

void Vocabulary::add(const std::string& token, int64_t id) {
  if (id < 0 || id >= kMaxTokens) {
    refuse("token " + printable(token) + " has id " + std::to_string(id) + "; ids must be from 0 to " +
           std::to_string(kMaxTokens - 1));
  }
  const auto [entry, is_new] = tokens_.emplace(static_cast<int32_t>(id), token);
  if (!is_new) {
    refuse("tokens " + printable(entry->second) + " and " + printable(token) + " have the same id " +
           std::to_string(id));
  }
  if (!ids_.emplace(entry->second, entry->first).second)
    refuse("token " + printable(token) + " stands in the vocabulary twice");
  end_ = std::max(end_, entry->first + 1);
}

std::optional<int32_t> Vocabulary::id(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

const std::string* Vocabulary::token(int32_t id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : &it->second;
}

}  // namespace awq::io
