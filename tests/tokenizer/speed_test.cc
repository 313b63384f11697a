// Speed on English text, printed; only a floor far below it is asserted, since the machine may be busy.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "io/file.h"
#include "io/tokenizer/tokenizer.h"

namespace awq::io {
namespace {

namespace fs = std::filesystem;

// Best of `rounds`, bytes of text a second.
double bytes_per_second(const Tokenizer& tokenizer, const std::string& text, int rounds) {
  double best = 0;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const size_t tokens = tokenizer.encode(text, false).size();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_GT(tokens, 0u);
    best = std::max(best, static_cast<double>(text.size()) / seconds.count());
  }
  return best;
}

TEST(TokenizerSpeed, EnglishOnOneThread) {
  const fs::path shared = AWQ_SOURCE_DIR "/../shared";
  if (!fs::exists(shared / "models/base/tokenizer.json")) GTEST_SKIP() << "the model and text to measure are not here";
  const Tokenizer tokenizer = Tokenizer::load(shared / "models/base");
  const std::string text = read_file(shared / "text/gutenberg-valid.txt", 64 << 20);
  const double first = bytes_per_second(tokenizer, text, 1), warm = bytes_per_second(tokenizer, text, 5);
  std::printf("%.1f MB of English: %.0f MB/s with a cold word cache, %.0f MB/s warm\n", text.size() / 1e6, first / 1e6,
              warm / 1e6);
  EXPECT_GT(warm, 5e6);
}

}  // namespace
}  // namespace awq::io
