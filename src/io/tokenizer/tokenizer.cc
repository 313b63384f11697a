#include "io/tokenizer/tokenizer.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "awq/error.h"
#include "io/file.h"
#include "io/tokenizer/added_tokens.h"
#include "io/tokenizer/bpe_model.h"
#include "io/tokenizer/decoder.h"
#include "io/tokenizer/json_fields.h"
#include "io/tokenizer/normalizer.h"
#include "io/tokenizer/post_processor.h"
#include "io/tokenizer/pre_tokenizer.h"
#include "io/tokenizer/utf8.h"

namespace awq::io {
namespace {

// The largest published tokenizer.json has 35 MB.
constexpr uint64_t kMaxFileBytes = 512u << 20;
constexpr size_t kMaxTextBytes = 1u << 30;
constexpr size_t kMaxNormalizedBytes = 2u << 30;  // places in a word are 32-bit numbers
constexpr size_t kKeptScratch = 1 << 16;          // symbols; a longer word's memory is given back

constexpr std::string_view kMark = "\u2581";  // for the space, in sentencepiece-style vocabularies

const Json& field_or_null(const Json& file, std::string_view name) {
  static const Json null;
  const Json* value = file.find(name);
  return value ? *value : null;
}

// Working memory for encode(): one for each thread that is inside it, kept warm between calls.
class ScratchPool {
 public:
  std::unique_ptr<BpeScratch> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<BpeScratch>();
    auto scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }
  void give_back(std::unique_ptr<BpeScratch> scratch) {
    if (scratch->symbols.capacity() > kKeptScratch) scratch->symbols = {};
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<BpeScratch>> free_;
};

}  // namespace

struct Tokenizer::Impl {
  std::unique_ptr<Normalizer> normalizer;
  PreTokenizerChoice words;
  BpeModel model;
  bool cut_at_marks;  // long texts without word boundaries fall apart in front of "▁"
  std::vector<AddedToken> added;
  std::unordered_map<std::string_view, int32_t> added_ids;
  std::unordered_map<int32_t, const AddedToken*> added_by_id;
  std::unordered_set<std::string_view> special;
  AddedTokenMatcher in_text, in_normalized_text;
  PostProcessor post_processor;
  std::unique_ptr<Decoder> decoder;
  mutable ScratchPool scratch_pool;

  explicit Impl(const Json& file);
  void index_added_tokens();
  AddedTokenMatcher matcher(bool normalized) const;
  int32_t vocab_size() const;
  const std::string* token_text(int32_t id) const;
  void encode_text(std::string_view text, bool at_start, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void encode_words(Piece piece, BpeScratch& scratch, std::vector<int32_t>& out) const;
};

Tokenizer::Impl::Impl(const Json& file)
    : normalizer(make_normalizer(field_or_null(file, "normalizer"))),
      words(make_pre_tokenizer(field_or_null(file, "pre_tokenizer"))),
      model(field(file, "model"), words.byte_level),
      cut_at_marks(model.can_cut_before(kMark)),
      added(read_added_tokens(field_or_null(file, "added_tokens"), model.vocabulary(), normalizer.get())),
      in_text(matcher(false)),
      in_normalized_text(matcher(true)),
      post_processor(field_or_null(file, "post_processor"), vocab_size()),
      decoder(make_decoder(field_or_null(file, "decoder"))) {
  index_added_tokens();
}

void Tokenizer::Impl::index_added_tokens() {
  for (const AddedToken& token : added) {
    added_ids.emplace(token.content, token.id);
    added_by_id.emplace(token.id, &token);
    if (token.special) special.insert(token.content);
  }
}

AddedTokenMatcher Tokenizer::Impl::matcher(bool normalized) const {
  std::vector<AddedToken> tokens;
  const auto wanted = [&](const AddedToken& token) { return token.normalized == normalized; };
  std::copy_if(added.begin(), added.end(), std::back_inserter(tokens), wanted);
  return AddedTokenMatcher(std::move(tokens));
}

int32_t Tokenizer::Impl::vocab_size() const {
  int32_t end = model.vocabulary().end_id();
  for (const AddedToken& token : added) end = std::max(end, token.id + 1);
  return end;
}

const std::string* Tokenizer::Impl::token_text(int32_t id) const {
  const auto it = added_by_id.find(id);
  return it == added_by_id.end() ? model.vocabulary().token(id) : &it->second->text;
}

// A text between the added tokens that stand in the raw text.
void Tokenizer::Impl::encode_text(std::string_view text, bool at_start, BpeScratch& scratch,
                                  std::vector<int32_t>& out) const {
  NormalizedText normalized{{}, at_start};
  if (normalizer) {
    normalized.text = text;
    normalizer->apply(normalized);
    text = normalized.text;
    if (text.size() > kMaxNormalizedBytes) refuse("the normalized text is larger than 2 GiB; encode it in parts");
  }
  in_normalized_text.split(text, [&](const Section& section) {
    if (section.token >= 0)
      out.push_back(section.token);
    else
      encode_words({section.text, normalized.at_start && section.begin == 0}, scratch, out);
  });
}

void Tokenizer::Impl::encode_words(Piece piece, BpeScratch& scratch, std::vector<int32_t>& out) const {
  struct Encoder : PieceSink {
    Encoder(const Impl& i, BpeScratch& s, std::vector<int32_t>& o) : impl(i), scratch(s), out(o) {}
    void operator()(Piece word) override {
      if (impl.cut_at_marks)
        cut(word.text);
      else
        impl.model.encode_word(word.text, scratch, out);
    }
    void cut(std::string_view text) {
      for (size_t begin = 0, end; begin < text.size(); begin = end) {
        size_t word = begin;
        while (text.substr(word).starts_with(kMark)) word += kMark.size();
        end = std::min(text.find(kMark, word), text.size());
        impl.model.encode_word(text.substr(begin, end - begin), scratch, out);
      }
    }
    const Impl& impl;
    BpeScratch& scratch;
    std::vector<int32_t>& out;
  } encoder(*this, scratch, out);
  if (words.pre_tokenizer)
    words.pre_tokenizer->split(piece, encoder);
  else
    encoder(piece);
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.json";
  return parse(read_file(path, kMaxFileBytes), path.string());
}

Tokenizer Tokenizer::parse(std::string_view json, const std::string& what) {
  return with_context([&] { return "reading the tokenizer " + what; },
                      [&] { return Tokenizer(std::make_unique<Impl>(Json::parse(json, what))); });
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  if (text.size() > kMaxTextBytes) refuse("the text is larger than 1 GiB; encode it in parts");
  std::string repaired;
  text = valid_utf8(text, repaired);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 16);
  auto scratch = impl_->scratch_pool.take();
  impl_->in_text.split(text, [&](const Section& section) {
    if (section.token >= 0)
      ids.push_back(section.token);
    else
      impl_->encode_text(section.text, section.begin == 0, *scratch, ids);
  });
  impl_->scratch_pool.give_back(std::move(scratch));
  return add_special_tokens ? impl_->post_processor.add_special_tokens(std::move(ids)) : ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (int32_t id : ids) {
    const std::string* text = impl_->token_text(id);
    if (text && !(skip_special_tokens && impl_->special.contains(*text))) tokens.push_back(*text);
  }
  const std::string_view separator = impl_->decoder ? "" : " ";
  if (impl_->decoder) tokens = impl_->decoder->apply(std::move(tokens));
  std::string out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += separator;
    out += tokens[i];
  }
  return out;
}

int32_t Tokenizer::vocab_size() const { return impl_->vocab_size(); }

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  const auto it = impl_->added_ids.find(token);
  return it == impl_->added_ids.end() ? impl_->model.vocabulary().id(token) : std::optional(it->second);
}

std::string Tokenizer::token_text(int32_t id) const {
  const std::string* text = impl_->token_text(id);
  return text ? *text : "";
}

}  // namespace awq::io
