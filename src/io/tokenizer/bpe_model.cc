#include "io/tokenizer/bpe_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "io/tokenizer/byte_alphabet.h"
#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

// Options of the format that no supported family sets. Each must be null, absent, "" or 0.
void refuse_unsupported_options(const Json& model) {
  for (const char* name : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json* value = model.find(name);
    if (!value || value->is_null()) continue;
    if (value->string() ? value->string()->empty() : value->number() == 0.0) continue;
    refuse(fmt::format("the BPE option \"{}\" is not supported", name));
  }
}

struct MergeParts {
  std::string_view left, right;
};

MergeParts merge_parts(const Json& entry, size_t index, bool as_string) {
  if (as_string && entry.string()) {
    const std::string_view text = *entry.string();
    const size_t space = text.find(' ');
    if (space != text.npos && text.find(' ', space + 1) == text.npos) {
      return {text.substr(0, space), text.substr(space + 1)};
    }
  } else if (!as_string && entry.array() && entry.array()->size() == 2) {
    const std::string* left = (*entry.array())[0].string();
    const std::string* right = (*entry.array())[1].string();
    if (left && right) return {*left, *right};
  }
  refuse(fmt::format("merge {} is not {} as the first merge is", index,
                     as_string ? "a string of two parts and one space" : "a list of two strings"));
}

int32_t merge_token(const Vocabulary& vocabulary, const std::string& token, size_t index) {
  const auto id = vocabulary.id(token);
  if (!id) refuse(fmt::format("merge {} needs the token {}, which the vocabulary lacks", index, printable(token)));
  return *id;
}

}  // namespace

BpeModel::BpeModel(const Json& model, bool byte_level)
    : byte_level_(byte_level),
      fuse_unknown_(bool_field(model, "fuse_unk", false)),
      byte_fallback_(bool_field(model, "byte_fallback", false)),
      ignore_merges_(bool_field(model, "ignore_merges", false)) {
  if (model.find("type") && type_of(model) != "BPE") {
    refuse("the model " + printable(type_of(model)) + " is not supported (supported: BPE)");
  }
  refuse_unsupported_options(model);
  if (const Json* token = model.find("unk_token"); token && !token->is_null())
    unknown_token_ = string_field(model, "unk_token");
  read_vocabulary(model);
  read_merges(model);
}

void BpeModel::read_vocabulary(const Json& model) {
  const Json::Object* vocab = field(model, "vocab").object();
  if (!vocab) refuse("\"vocab\" must be an object of tokens and ids");
  for (const auto& [token, id] : *vocab) {
    if (!id.integer()) refuse("the id of token " + printable(token) + " is not an integer");
    vocabulary_.add(token, *id.integer());
    longest_token_ = std::max(longest_token_, token.size());
  }
  for (int b = 0; b < 256; ++b) {
    const std::string character = byte_level_ ? byte_to_character(static_cast<unsigned char>(b))
                                              : std::string(b < 0x80 ? 1 : 0, static_cast<char>(b));
    symbol_of_byte_[b] = character.empty() ? -1 : vocabulary_.id(character).value_or(-1);
    fallback_token_[b] = vocabulary_.id(fmt::format("<0x{:02X}>", b)).value_or(-1);
  }
}

void BpeModel::read_merges(const Json& model) {
  const Json::Array& entries = array_field(model, "merges");
  const bool as_string = !entries.empty() && entries[0].string();
  std::vector<MergeRow> rows;
  rows.reserve(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    // Old files carry the header of merges.txt along.
    if (as_string && entries[i].string() && entries[i].string()->starts_with("#version")) continue;
    const auto [left, right] = merge_parts(entries[i], i, as_string);
    if (left.empty() || right.empty()) refuse(fmt::format("merge {} has an empty part", i));
    const std::string whole = std::string(left) + std::string(right);
    rows.push_back({merge_token(vocabulary_, std::string(left), i),
                    merge_token(vocabulary_, std::string(right), i),
                    {static_cast<int32_t>(rows.size()), merge_token(vocabulary_, whole, i)}});
    merged_tokens_.push_back(rows.back().merge.token);
  }
  merges_ = MergeTable(std::move(rows), vocabulary_.end_id());
}

bool BpeModel::can_cut_before(std::string_view mark) const {
  if (ignore_merges_ || byte_level_ || !vocabulary_.id(mark)) return false;
  return std::none_of(merged_tokens_.begin(), merged_tokens_.end(), [&](int32_t id) {
    const std::string_view token = *vocabulary_.token(id);
    for (size_t at = token.find(mark, 1); at != token.npos; at = token.find(mark, at + 1)) {
      if (!token.substr(0, at).ends_with(mark)) return true;
    }
    return false;
  });
}

// An unknown token is held back until something known follows, so that the next one can join it (fuse_unk). Byte
// tokens do not release it: the package has this order, so we have it, too.
class BpeModel::CharacterSink {
 public:
  CharacterSink(const BpeModel& model, std::vector<int32_t>& symbols) : model_(model), symbols_(symbols) {}

  void known(int32_t id) {
    release();
    symbols_.push_back(id);
  }
  void character(std::string_view c) {
    if (const auto id = model_.vocabulary_.id(c)) return known(*id);
    if (model_.byte_fallback_ && append_bytes(c)) return;
    if (model_.unknown_token_.empty()) return;  // the package drops the character
    if (!model_.fuse_unknown_) release();
    held_back_ = true;
  }
  void release() {
    if (!std::exchange(held_back_, false)) return;
    const auto id = model_.vocabulary_.id(model_.unknown_token_);
    if (!id)
      refuse("the text needs \"unk_token\" " + printable(model_.unknown_token_) + ", which the vocabulary lacks");
    symbols_.push_back(*id);
  }

 private:
  bool append_bytes(std::string_view c) {
    const auto token = [&](char b) { return model_.fallback_token_[static_cast<unsigned char>(b)]; };
    if (std::any_of(c.begin(), c.end(), [&](char b) { return token(b) < 0; })) return false;
    for (char b : c) symbols_.push_back(token(b));
    return true;
  }

  const BpeModel& model_;
  std::vector<int32_t>& symbols_;
  bool held_back_ = false;
};

void BpeModel::split_characters(std::string_view word, std::vector<int32_t>& symbols) const {
  CharacterSink sink(*this, symbols);
  for (size_t i = 0; i < word.size();) {
    const auto byte = static_cast<unsigned char>(word[i]);
    const size_t bytes = byte_level_ ? 1 : static_cast<size_t>(utf8_length(word[i]));
    if (symbol_of_byte_[byte] >= 0)
      sink.known(symbol_of_byte_[byte]);
    else
      sink.character(byte_level_ ? std::string_view(byte_to_character(byte)) : word.substr(i, bytes));
    i += bytes;
  }
  sink.release();
}

std::optional<int32_t> BpeModel::token_of_word(std::string_view word, std::string& token) const {
  if (!ignore_merges_ || word.size() > longest_token_) return std::nullopt;
  if (!byte_level_) return vocabulary_.id(word);
  token.clear();
  for (char c : word) token += byte_to_character(static_cast<unsigned char>(c));
  return vocabulary_.id(token);
}

void BpeModel::encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (const auto tokens = scratch.cache.find(word); !tokens.empty()) {
    out.insert(out.end(), tokens.begin(), tokens.end());
    return;
  }
  std::vector<int32_t>& symbols = scratch.symbols;
  symbols.clear();
  if (const auto token = token_of_word(word, scratch.token)) {
    symbols.push_back(*token);
  } else {
    split_characters(word, symbols);
    merge_symbols(merges_, symbols);
  }
  scratch.cache.insert(word, symbols);
  out.insert(out.end(), symbols.begin(), symbols.end());
}

}  // namespace awq::io
