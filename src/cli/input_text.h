#pragma once
#include <string>

namespace awq::cli {

// Text to work on: the file, or standard input when `path` is "-" or absent and something is piped in. Documents of a
// folder or .jsonl file are joined by an empty line. `option` names the flag in the error for "nothing given".
std::string input_text(const std::string& path, const std::string& text_column, const std::string& option);

}  // namespace awq::cli
