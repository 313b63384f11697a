#include "cli/input_text.h"

#include <fmt/format.h>
#include <unistd.h>

#include "awq/error.h"
#include "io/corpus.h"

namespace awq::cli {

std::string input_text(const std::string& path, const std::string& text_column, const std::string& option) {
  if (path.empty() && isatty(STDIN_FILENO) != 0) {
    throw Error(ErrorKind::kUsage, fmt::format("no text: give {} or pipe some in", option));
  }
  return fmt::format("{}", fmt::join(io::read_documents({path.empty() ? "-" : path, text_column}), "\n\n"));
}

}  // namespace awq::cli
