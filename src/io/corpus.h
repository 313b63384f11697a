// Text to calibrate on or to score: files, folders, compressed JSON lines, standard input, or the built-in sample.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "awq/quantize.h"

namespace awq::io {

// Documents of one source, in order. .txt is one document; .jsonl[.gz|.zst] one a line, from `text_column`; .json an
// array of strings or objects; a folder holds any of those, by name. Text must be UTF-8. Errors name file and line.
// At most `max_bytes` of text are read (decompression bombs end there).
std::vector<std::string> read_documents(const CalibrationSource&, size_t max_bytes = size_t{256} << 20);

std::string_view builtin_text();  // our own sample text, about 300 kB

}  // namespace awq::io
