// Token <-> id of a model. Ids may have gaps; no id and no token occurs twice.
#pragma once
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace awq::io {

// A bound for tables indexed by id; the largest published vocabularies have some 260 thousand tokens.
constexpr int32_t kMaxTokens = 1 << 24;

class Vocabulary {
 public:
  Vocabulary();
  void add(const std::string& token, int64_t id);  // Error(kBadInput) when the id is taken or out of range

  std::optional<int32_t> id(std::string_view token) const;
  const std::string* token(int32_t id) const;  // nullptr when no token has it
  int32_t end_id() const { return end_; }      // largest id + 1
  size_t size() const { return ids_.size(); }

 private:
  struct Hash {  // seeded at random: a file must not be able to choose tokens that collide
    uint64_t seed;
    size_t operator()(std::string_view s) const { return XXH3_64bits_withSeed(s.data(), s.size(), seed); }
  };
  std::unordered_map<int32_t, std::string> tokens_;  // node-based: the views in ids_ stay valid, also when moved
  std::unordered_map<std::string_view, int32_t, Hash> ids_;
  int32_t end_ = 0;
};

}  // namespace awq::io
