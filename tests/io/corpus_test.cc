#include "io/corpus.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "io/utf8.h"
#include "scratch.h"

namespace awq::io {
namespace {

using test::refusal;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string gzipped(const std::string& text) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&z, text.size()) + 32, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

class CorpusTest : public testing::Test {
 protected:
  std::vector<std::string> read(std::string_view name, std::string_view content, const std::string& column = "text",
                                size_t limit = 1 << 20) {
    return read_documents({folder_.put(name, content), column}, limit);
  }
  std::string why(std::string_view name, std::string_view content, const std::string& column = "text",
                  size_t limit = 1 << 20) {
    return refusal([&] { read(name, content, column, limit); });
  }
  test::ScratchFolder folder_;
};

TEST_F(CorpusTest, TheBuiltInSampleIsText) {
  const auto documents = read_documents({"", "text"});
  ASSERT_EQ(documents.size(), 1u);
  EXPECT_EQ(documents[0], builtin_text());
  EXPECT_GT(builtin_text().size(), 500u);
  EXPECT_EQ(find_invalid_utf8(builtin_text()), std::string_view::npos);
  EXPECT_EQ(builtin_text(), test::content_of(AWQ_SOURCE_DIR "/src/io/builtin_text.txt"));
}

TEST_F(CorpusTest, PlainText) {
  EXPECT_THAT(read("a.txt", "\xef\xbb\xbfone\ntwo\n"), ElementsAre("one\ntwo\n"));
  EXPECT_THAT(read("main.py", "x = 1\n"), ElementsAre("x = 1\n"));
}

TEST_F(CorpusTest, JsonLines) {
  EXPECT_THAT(read("a.jsonl", "{\"text\":\"one\"}\r\n\n  \n{\"n\":NaN,\"text\":\"two\"}\n\"three\""),
              ElementsAre("one", "two", "three"));
  EXPECT_THAT(read("a.jsonl", "{\"body\":\"one\",\"text\":2}\n", "body"), ElementsAre("one"));
}

TEST_F(CorpusTest, JsonArrays) {
  EXPECT_THAT(read("a.json", R"(["one", {"text": "two"}])"), ElementsAre("one", "two"));
  EXPECT_THAT(why("a.json", R"({"text":"x"})"), HasSubstr("must be a JSON array"));
  EXPECT_THAT(why("a.json", R"(["x", {"a":1}])"), AllOf(HasSubstr("element 1"), HasSubstr("columns are 'a'")));
}

TEST_F(CorpusTest, Compressed) {
  EXPECT_THAT(read("a.jsonl.gz", gzipped("{\"text\":\"one\"}\n") + gzipped("{\"text\":\"two\"}\n")),
              ElementsAre("one", "two"));
  EXPECT_THAT(read("a.jsonl.zst", zstd("{\"text\":\"one\"}\n") + zstd("{\"text\":\"two\"}\n")),
              ElementsAre("one", "two"));
  const std::string longer(1'000'000, 'x');
  EXPECT_THAT(read("a.txt.gz", gzipped(longer)), ElementsAre(longer));
  EXPECT_THAT(read("a.txt.zst", zstd(longer)), ElementsAre(longer));
}

TEST_F(CorpusTest, BrokenCompression) {
  const std::string text = "some text that is long enough to be cut in the middle of it";
  for (const auto& [name, packed] :
       {std::pair<const char*, std::string>{"a.txt.gz", gzipped(text)}, {"a.txt.zst", zstd(text)}}) {
    EXPECT_THAT(why(name, packed.substr(0, packed.size() - 5)), HasSubstr("it ends in the middle of the data")) << name;
    EXPECT_THAT(why(name, ""), HasSubstr("it ends in the middle of the data")) << name;
    EXPECT_THAT(why(name, "plain text after all, with a name that lies"), HasSubstr("cannot be decompressed")) << name;
  }
}

TEST_F(CorpusTest, BombsEndAtTheLimit) {
  const std::string bomb(50'000'000, 'a');
  EXPECT_EQ(read("a.txt.gz", gzipped(bomb), "text", 1000)[0].size(), 1000u);
  EXPECT_EQ(read("a.txt.zst", zstd(bomb), "text", 1000)[0].size(), 1000u);
  EXPECT_EQ(read("a.txt", "aaaé", "text", 4)[0], "aaa");  // the character that the limit cuts goes
}

TEST_F(CorpusTest, AFolderIsReadByName) {
  folder_.put("d/b.jsonl", "{\"text\":\"two\"}\n");
  folder_.put("d/a.txt", "one");
  folder_.put("d/c.txt.gz", gzipped("three"));
  folder_.put("d/ignored.png", "\xff");
  folder_.put("d/sub/d.txt", "four");
  EXPECT_THAT(read_documents({folder_ / "d", "text"}), ElementsAre("one", "two", "three"));
  EXPECT_THAT(read_documents({folder_ / "d", "text"}, 3), ElementsAre("one"));
  EXPECT_THAT(refusal([&] { read_documents({folder_ / "d/sub/..", "text"}, 0); }), HasSubstr("holds no text"));
  std::filesystem::create_directory(folder_ / "empty");
  EXPECT_THAT(refusal([&] {
                read_documents({folder_ / "empty", "text"});
              }),
              HasSubstr("holds no .txt, .jsonl or .json file"));
}

TEST_F(CorpusTest, StandardInput) {
  const auto path = folder_.put("in", "from a pipe");
  const int saved = dup(0), fd = open(path.c_str(), O_RDONLY);
  dup2(fd, 0);
  const auto documents = read_documents({"-", "text"});
  dup2(saved, 0);
  close(fd);
  close(saved);
  EXPECT_THAT(documents, ElementsAre("from a pipe"));
}

// CD1
TEST_F(CorpusTest, NothingToReadIsSaid) {
  for (const char* name : {"a.txt", "a.jsonl"})
    for (const char* content : {"", "\n \r\n\t\n"}) EXPECT_THAT(why(name, content), HasSubstr("holds no text"));
  EXPECT_THAT(why("a.jsonl", R"({"text":""})"), HasSubstr("holds no text"));
  EXPECT_THAT(refusal([] { read_documents({"/no/such/file.txt", "text"}); }), HasSubstr("No such file"));
}

TEST_F(CorpusTest, ComplaintsNameTheLine) {
  const std::string good = "{\"text\":\"x\"}\n\n";
  EXPECT_THAT(
      why("a.jsonl", good + "{\"body\":\"x\",\"id\":1}\n"),
      AllOf(HasSubstr("line 3: has no column 'text'; its columns are 'body', 'id'"), HasSubstr("--text-column")));
  EXPECT_THAT(why("a.jsonl", good + "{\"text\":1}\n"), HasSubstr("line 3: column 'text' is not a string"));
  EXPECT_THAT(why("a.jsonl", good + "[1]\n"), HasSubstr("line 3: neither a string nor an object"));
  EXPECT_THAT(why("a.jsonl", good + "{\"text\":\n"), HasSubstr("line 3 is not valid JSON"));
  EXPECT_THAT(why("a.jsonl", good + "{\"messages\":[]}\n"), HasSubstr("chat messages, which are not supported"));
  EXPECT_THAT(why("a.jsonl", good + "{\"text\":\"\xff\"}\n"),
              HasSubstr("line 3: not UTF-8 text at byte 23 of the file"));
  EXPECT_THAT(why("a.txt", "ab\xff"), HasSubstr("is not UTF-8 text at byte 2"));
  EXPECT_THAT(why("a.parquet", "PAR1"), HasSubstr("write its text column as JSON lines"));
  EXPECT_THAT(why("a.txt", "version https://git-lfs.github.com/spec/v1\n"), HasSubstr("git lfs pull"));
}

TEST_F(CorpusTest, OneEndlessLine) {
  EXPECT_THAT(why("a.jsonl", "{\"text\":\"" + std::string(5000, 'x'), "text", 1000),
              HasSubstr("line 1: longer than the limit of 1000 bytes"));
  EXPECT_THAT(read("a.jsonl", "{\"text\":\"one\"}\n{\"text\":\"" + std::string(5000, 'x'), "text", 1000),
              ElementsAre("one"));
}

}  // namespace
}  // namespace awq::io
