#include "io/tokenizer/tokenizer.h"

#include <gmock/gmock.h>

#include <thread>

#include "io/file.h"

namespace awq::io {
namespace {

using testing::ElementsAre;

TEST(DemoTokenizer, EncodesAsThePackageDoes) {
  const Tokenizer t = Tokenizer::load(AWQ_SOURCE_DIR "/models/demo");
  const std::string text = "Hello, world! The <|bos|>old man's 12345 cats\n\n  \u00e9 ok";
  const std::vector<int32_t> ids = t.encode(text, false);
  EXPECT_THAT(ids, ElementsAre(41, 502, 80, 13, 969, 2, 375, 222, 0, 735, 452, 417, 222, 2588, 20, 21, 22, 279, 1460,
                               299, 222, 222, 1625, 265, 76));
  EXPECT_EQ(t.encode(text, true).front(), 0);
  EXPECT_EQ(t.decode(ids, false), text);
  EXPECT_EQ(t.decode(ids, true), "Hello, world! The old man's 12345 cats\n\n  \u00e9 ok");
  EXPECT_EQ(t.vocab_size(), 4096);
  EXPECT_EQ(t.token_text(*t.token_id("<|eos|>")), "<|eos|>");
}

TEST(DemoTokenizer, ThreadsShareIt) {
  const Tokenizer t = Tokenizer::load(AWQ_SOURCE_DIR "/models/demo");
  const std::string text = read_file(AWQ_SOURCE_DIR "/README.md", 1 << 20);
  const std::vector<int32_t> expected = t.encode(text, true);
  std::vector<std::vector<int32_t>> ids(4);
  std::vector<std::jthread> threads;
  for (auto& mine : ids) threads.emplace_back([&] { mine = t.encode(text, true); });
  threads.clear();  // joins
  EXPECT_THAT(ids, testing::Each(expected));
}

}  // namespace
}  // namespace awq::io
