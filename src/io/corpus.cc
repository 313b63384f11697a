#include "io/corpus.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "awq/error.h"
#include "io/byte_stream.h"
#include "io/escape.h"
#include "io/file.h"
#include "io/json.h"
#include "io/utf8.h"

namespace awq::io {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kBom = "\xef\xbb\xbf";
constexpr std::string_view kSpace = " \t\r\n";

using Documents = std::vector<std::string>;

struct Source {      // one file on its way to documents
  std::string what;  // its name, as messages show it
  std::string text_column;
  std::string text;  // decompressed, without byte order mark
  bool cut = false;  // there was more than the limit
};

[[noreturn]] void fail(const std::string& why) { throw Error(ErrorKind::kBadInput, why); }

std::string columns_of(const Json::Object& object) {
  std::vector<std::string> names;
  for (const auto& [key, value] : object) names.push_back(printable(key));
  return fmt::format(
      "{}",
      fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(names.size(), 16)), ", "));
}

// A JSON string is a document; of an object its text column is.
const std::string& text_of(const Json& value, const std::string& column, const std::string& what) {
  if (value.string()) return *value.string();
  if (!value.object()) fail(what + ": neither a string nor an object with a text column");
  const Json* text = value.find(column);
  if (!text && value.find("messages"))
    fail(what + ": holds chat messages, which are not supported; write each conversation as one text");
  if (!text)
    fail(fmt::format("{}: has no column {}; its columns are {}; name one with --text-column", what, printable(column),
                     columns_of(*value.object())));
  if (!text->string()) fail(fmt::format("{}: column {} is not a string", what, printable(column)));
  return *text->string();
}

void add_plain(Source& source, Documents& out) {
  if (source.cut) trim_partial_character(source.text);
  const size_t invalid = find_invalid_utf8(source.text);
  if (invalid != source.text.npos) fail(fmt::format("{} is not UTF-8 text at byte {}", source.what, invalid));
  out.push_back(std::move(source.text));
}

void add_json_lines(Source& source, Documents& out) {
  const std::string_view text = source.text;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    ++number;
    const size_t newline = text.find('\n', begin);
    const std::string_view line = text.substr(begin, newline - begin);
    const std::string what = fmt::format("{}, line {}", source.what, number);
    if (newline == text.npos && source.cut) {  // the limit fell into this line
      if (number == 1) fail(fmt::format("{}: longer than the limit of {} bytes", what, text.size()));
      return;
    }
    if (line.find_first_not_of(kSpace) != line.npos) {
      const size_t invalid = find_invalid_utf8(line);
      if (invalid != line.npos) fail(fmt::format("{}: not UTF-8 text at byte {} of the file", what, begin + invalid));
      out.push_back(text_of(Json::parse(line, what), source.text_column, what));
    }
    if (newline == text.npos) return;
    begin = newline + 1;
  }
}

void add_json(Source& source, Documents& out) {
  if (source.cut)
    fail(fmt::format("{} is longer than the limit of {} bytes; use JSON lines", source.what, source.text.size()));
  const size_t invalid = find_invalid_utf8(source.text);
  if (invalid != source.text.npos) fail(fmt::format("{} is not UTF-8 text at byte {}", source.what, invalid));
  const Json json = Json::parse(source.text, source.what);
  if (!json.array()) fail(source.what + " must be a JSON array of strings or objects");
  for (size_t i = 0; i < json.array()->size(); ++i)
    out.push_back(text_of((*json.array())[i], source.text_column, fmt::format("{}, element {}", source.what, i)));
}

[[noreturn]] void refuse_table(Source& source, Documents&) {
  fail(source.what + " is a binary table, which is not read; write its text column as JSON lines (.jsonl)");
}

// By the name without .gz and .zst. Any other name that the user gives is plain text; in a folder it is passed over.
struct Kind {
  std::string_view suffix;
  void (*add)(Source&, Documents&);
  bool in_folders;
};
constexpr Kind kKinds[] = {{".txt", add_plain, true},
                           {".jsonl", add_json_lines, true},
                           {".json", add_json, true},
                           {".parquet", refuse_table, false},
                           {".arrow", refuse_table, false}};
constexpr Kind kOther = {"", add_plain, false};

const Kind& kind_of(fs::path path) {
  if (path.extension() == ".gz" || path.extension() == ".zst") path.replace_extension();
  for (const Kind& kind : kKinds)
    if (path.extension() == kind.suffix) return kind;
  return kOther;
}

void add_stream(ByteStream& stream, const Kind& kind, Source source, size_t max_bytes, Documents& out) {
  source.text = read_up_to(stream, max_bytes, source.cut);
  if (source.text.starts_with(kBom)) source.text.erase(0, kBom.size());
  refuse_lfs_pointer(source.text, source.what);
  kind.add(source, out);
}

void add_file(const fs::path& path, const std::string& column, size_t max_bytes, Documents& out) {
  add_stream(*open_stream(path), kind_of(path), {printable(path.native()), column, {}, false}, max_bytes, out);
}

void add_folder(const fs::path& folder, const std::string& column, size_t max_bytes, Documents& out) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    if (kind_of(it->path()).in_folders && it->is_regular_file(error)) paths.push_back(it->path());
  if (error) fail(fmt::format("cannot list the folder {}: {}", printable(folder.native()), error.message()));
  if (paths.empty()) fail(printable(folder.native()) + " holds no .txt, .jsonl or .json file (.gz and .zst included)");
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    const size_t first = out.size();
    if (max_bytes > 0) add_file(path, column, max_bytes, out);
    for (size_t i = first; i < out.size(); ++i) max_bytes -= std::min(max_bytes, out[i].size());
  }
}

}  // namespace

std::vector<std::string> read_documents(const CalibrationSource& source, size_t max_bytes) {
  Documents out;
  std::error_code ignored;
  const std::string what = source.path == "-" ? "standard input" : printable(source.path);
  if (source.path.empty()) return {std::string(builtin_text())};
  if (source.path == "-")
    add_stream(*open_stdin(), kOther, {what, source.text_column, {}, false}, max_bytes, out);
  else if (fs::is_directory(source.path, ignored))
    add_folder(source.path, source.text_column, max_bytes, out);
  else
    add_file(source.path, source.text_column, max_bytes, out);
  std::erase_if(out, [](const std::string& text) { return text.find_first_not_of(kSpace) == text.npos; });
  if (out.empty()) fail(what + " holds no text");
  return out;
}

}  // namespace awq::io
