#include "quant/calibration.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "awq/error.h"
#include "core/hash.h"
#include "io/corpus.h"
#include "io/tokenizer/tokenizer.h"

namespace awq::quant {
namespace {

// More text than this a token is read by no tokenizer worth calibrating with; keeps a huge file from being encoded
// whole.
constexpr size_t kBytesPerToken = 32;

std::string name_of(const CalibrationSource& source) {
  if (!source.tokens.empty()) return fmt::format("the list of {} token lists", source.tokens.size());
  if (!source.documents.empty()) return fmt::format("the list of {} texts", source.documents.size());
  return source.path.empty() ? "the built-in sample" : source.path == "-" ? "standard input" : "'" + source.path + "'";
}

std::vector<int32_t> joined(const std::vector<std::vector<int32_t>>& documents, size_t tokens_wanted) {
  std::vector<int32_t> ids;
  for (const std::vector<int32_t>& document : documents) {
    ids.insert(ids.end(), document.begin(), document.end());
    if (ids.size() >= tokens_wanted) break;
  }
  return ids;
}

std::vector<int32_t> encode_source(const io::Tokenizer& tokenizer, const CalibrationSource& source,
                                   size_t tokens_wanted) {
  const size_t limit = std::max<size_t>(size_t{64} << 20, tokens_wanted * kBytesPerToken);
  std::vector<int32_t> ids;
  bool any_text = false;
  for (const std::string& document : source.documents.empty() ? io::read_documents(source, limit) : source.documents) {
    any_text |= !document.empty();
    const std::vector<int32_t> more = tokenizer.encode(document, false);
    ids.insert(ids.end(), more.begin(), more.end());
    if (ids.size() >= tokens_wanted) break;
  }
  if (!any_text) throw Error(ErrorKind::kBadInput, "calibration text: " + name_of(source) + " holds no text");
  return ids;
}

void check_ids(const std::vector<int32_t>& ids, int64_t vocab) {
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id < 0 || id >= vocab; });
  if (bad == ids.end()) return;
  throw Error(ErrorKind::kBadInput,
              fmt::format("the tokenizer gives token id {} but the model's vocabulary has {} entries: "
                          "tokenizer.json belongs to another model",
                          *bad, vocab));
}

}  // namespace

CalibrationTokens load_calibration(const std::filesystem::path& folder, const QuantizeOptions& options, int64_t vocab) {
  std::vector<CalibrationSource> sources = options.calib;
  if (sources.empty()) sources.push_back({"", "text"});
  CalibrationTokens out;
  out.window = options.seqlen;
  std::optional<io::Tokenizer> tokenizer;  // not read where every source has its tokens
  const int64_t share = (options.samples + std::ssize(sources) - 1) / std::ssize(sources);
  std::vector<std::vector<int32_t>> streams;
  for (const CalibrationSource& source : sources) {
    const auto wanted = static_cast<size_t>(share * out.window);
    if (source.tokens.empty() && !tokenizer) tokenizer = io::Tokenizer::load(folder);
    streams.push_back(source.tokens.empty() ? encode_source(*tokenizer, source, wanted)
                                            : joined(source.tokens, wanted));
    const int64_t have = std::ssize(streams.back()) / out.window;
    check_ids(streams.back(), vocab);
    if (have == 0)
      throw Error(
          ErrorKind::kBadInput,
          fmt::format("calibration text: {} has {} tokens, one window needs {}; give more text or a smaller --seqlen",
                      name_of(source), streams.back().size(), out.window));
    if (have < share)
      out.warnings.push_back(fmt::format("calibration text: {} has {} windows of {} tokens, {} were asked for",
                                         name_of(source), have, out.window, share));
  }
  for (int64_t w = 0; w < share; ++w)
    for (const std::vector<int32_t>& stream : streams) {
      if ((w + 1) * out.window > std::ssize(stream) || out.windows == options.samples) continue;
      out.ids.insert(out.ids.end(), stream.begin() + w * out.window, stream.begin() + (w + 1) * out.window);
      ++out.windows;
    }
  out.hash = hash_hex(std::as_bytes(std::span(out.ids)));
  return out;
}

}  // namespace awq::quant
