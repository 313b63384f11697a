#include "io/safetensors.h"

#include <gmock/gmock.h>

#include <chrono>

#include "io/safetensors_builder.h"
#include "scratch.h"

namespace awq::io {
namespace {

using test::entry;
using test::refusal;
using test::safetensors;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), file.size(), "'w.safetensors'");
}
SafetensorsHeader parse(const std::string& header, const std::string& data) { return parse(safetensors(header, data)); }
std::string why(const std::string& file) {
  return refusal([&] { parse(file); });
}
std::string why(const std::string& header, const std::string& data) { return why(safetensors(header, data)); }
std::string one(std::string_view dtype, std::string_view shape, uint64_t begin, uint64_t end) {
  return "{" + entry("w", dtype, shape, begin, end) + "}";
}
std::string bytes(size_t n) { return std::string(n, 'x'); }

TEST(SafetensorsHeaderTest, ReadsTensorsInOrderOfTheirOffsets) {
  const auto h = parse("{" + entry("b", "F16", "2,3", 4, 16) + "," + entry("a", "BF16", "2", 0, 4) +
                           R"(,"__metadata__":{"format":"pt"}})",
                       bytes(16));
  ASSERT_EQ(h.tensors.size(), 2u);
  EXPECT_EQ(h.tensors[0].name, "a");
  EXPECT_EQ(h.tensors[1].dtype, Dtype::kF16);
  EXPECT_THAT(h.tensors[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(h.tensors[1].bytes(), 12u);
  EXPECT_EQ(h.metadata.at("format"), "pt");
}

// ST1
TEST(SafetensorsHeaderTest, RefusesFilesWithoutRoomForALength) {
  for (const size_t size : {0, 1, 7}) EXPECT_THAT(why(bytes(size)), HasSubstr("a header length takes 8"));
  EXPECT_THAT(why(safetensors(0, "", "")), HasSubstr("not valid JSON"));
}

// ST2
TEST(SafetensorsHeaderTest, RefusesHeaderLengthsThatDoNotFit) {
  EXPECT_THAT(why(safetensors(0, "{}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(why(safetensors(1, "{}", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(why(safetensors(3, "{}", "")), HasSubstr("goes past its end at 10 bytes; the file is truncated"));
  EXPECT_THAT(why(safetensors(1, "{} ", "")), HasSubstr("not valid JSON"));
  for (const uint64_t n : {uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}})
    EXPECT_THAT(why(safetensors(n, "{}", "")), HasSubstr("above the limit of 100000000"));
  EXPECT_TRUE(parse("{}", "").tensors.empty());
}

// ST3
TEST(SafetensorsHeaderTest, TakesTheLongestHeaderOfSpaces) {
  std::string header(100'000'000, ' ');
  header.replace(header.size() - 2, 2, "{}");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(parse(header, "").tensors.empty());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

// ST4, ST5
TEST(SafetensorsHeaderTest, RefusesWhatIsNotJson) {
  using namespace std::string_literals;
  for (const std::string& header :
       {"{\"\xff\":1}"s, "\xef\xbb\xbf{}"s, "{\"a\0b\":1}"s, "{\0}\0"s, R"({"\ud800":1})"s, "{"s, "{} {}"s, "{}x"s, ""s,
        std::string(100'000, '['), R"({"__metadata__":{"a":1e400}})"s})
    EXPECT_THAT(why(header, ""), HasSubstr("the header of 'w.safetensors' is not valid JSON")) << header.substr(0, 40);
  for (const char* header : {"[]", "1", "\"a\"", "null"}) EXPECT_THAT(why(header, ""), HasSubstr("not a JSON object"));
}

// ST5
TEST(SafetensorsHeaderTest, RefusesNumbersThatAreNotWhole) {
  for (const char* dim : {"-1", "1.0", "\"16\"", "null", "true", "18446744073709551615"})
    EXPECT_THAT(why(one("U8", dim, 0, 1), bytes(1)),
                HasSubstr("tensor 'w' has a shape that is not made of whole numbers"))
        << dim;
  for (const char* offsets : {"-1,1", "0,1.0", "0,\"1\"", "0", "0,1,2", "0,null"})
    EXPECT_THAT(why(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[)" + std::string(offsets) + "]}}", bytes(1)),
                HasSubstr("data_offsets that are not two whole numbers"))
        << offsets;
  EXPECT_THAT(why(one("U8", "-0", 0, 0), ""), HasSubstr("the number -0"));
  EXPECT_THAT(why(one("U8", "18446744073709551616", 0, 1), bytes(1)), HasSubstr("not valid JSON"));
}

TEST(SafetensorsHeaderTest, RefusesIncompleteEntries) {
  for (const char* body :
       {"1", "[]", "null", R"({"dtype":"U8","shape":[1]})", R"({"shape":[1],"data_offsets":[0,1]})",
        R"({"dtype":1,"shape":[1],"data_offsets":[0,1]})", R"({"dtype":"U8","shape":1,"data_offsets":[0,1]})"})
    EXPECT_THAT(why("{\"w\":" + std::string(body) + "}", bytes(1)), HasSubstr("tensor 'w'")) << body;
}

// ST6
TEST(SafetensorsHeaderTest, RefusesDuplicates) {
  EXPECT_THAT(why("{" + entry("w", "U8", "1", 0, 1) + "," + entry("w", "U8", "1", 0, 1) + "}", bytes(1)),
              HasSubstr("'w' twice"));
  EXPECT_THAT(why("{" + entry("w", "U8", "1", 0, 1) + "," + entry("w", "U8", "1", 1, 2) + "}", bytes(2)),
              HasSubstr("'w' twice"));
  EXPECT_THAT(why("{" + entry("w", "U8", "1", 0, 1) + "," + entry("\\u0077", "U8", "1", 1, 2) + "}", bytes(2)),
              HasSubstr("'w' twice"));
  EXPECT_THAT(why(R"({"__metadata__":{},"__metadata__":{}})", ""), HasSubstr("'__metadata__' twice"));
  EXPECT_THAT(why(R"({"__metadata__":{"a":"1","a":"2"}})", ""), HasSubstr("'a' twice"));
  EXPECT_THAT(why(R"({"w":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", bytes(1)),
              HasSubstr("each once"));
}

// ST7
TEST(SafetensorsHeaderTest, MetadataHoldsStrings) {
  for (const char* value : {"1", "{}", "null"})
    EXPECT_THAT(why(R"({"__metadata__":{"k":)" + std::string(value) + "}}", ""),
                HasSubstr("entry 'k' is not a string"));
  EXPECT_THAT(why(R"({"__metadata__":[]})", ""), HasSubstr("__metadata__ is not an object"));
  EXPECT_TRUE(parse(R"({"__metadata__":null})", "").metadata.empty());
}

// ST8
TEST(SafetensorsHeaderTest, AnUnknownDtypeIsKeptUntilSomebodyNeedsIt) {
  for (const char* dtype : {"F6_E2M3", "C64", "f16", "X9"}) {
    const auto h =
        parse(one(dtype, std::string(dtype) == "F6_E2M3" ? "4" : "1", 0, std::string(dtype) == "F6_E2M3" ? 3 : 8),
              bytes(std::string(dtype) == "F6_E2M3" ? 3 : 8));
    EXPECT_FALSE(h.tensors[0].known);
    EXPECT_EQ(h.tensors[0].dtype_text, dtype);
  }
  EXPECT_THAT(why(one("F4", "3", 0, 2), bytes(2)), HasSubstr("not a whole number of bytes"));
  EXPECT_THAT(why(one("C64", "1", 0, 4), bytes(4)), HasSubstr("needs 8 bytes for its shape and dtype C64 but has 4"));
}

// ST9
TEST(SafetensorsHeaderTest, TensorsTileTheData) {
  const auto two = [](uint64_t a0, uint64_t a1, uint64_t b0, uint64_t b1) {
    return "{" + entry("a", "U8", std::to_string(a1 - a0), a0, a1) + "," +
           entry("b", "U8", std::to_string(b1 - b0), b0, b1) + "}";
  };
  EXPECT_NO_THROW(parse(two(0, 4, 4, 8), bytes(8)));
  EXPECT_THAT(why(one("U8", "1", 2, 1), bytes(2)), HasSubstr("tensor 'w' ends at data byte 1, before its begin 2"));
  EXPECT_THAT(why(two(1, 4, 4, 8), bytes(8)), HasSubstr("data bytes 0 to 1, before tensor 'a', belong to no tensor"));
  EXPECT_THAT(why(two(0, 4, 5, 8), bytes(8)), HasSubstr("data bytes 4 to 5, before tensor 'b'"));
  EXPECT_THAT(why(two(0, 5, 4, 8), bytes(8)), HasSubstr("tensors 'a' and 'b' overlap at data byte 4"));
  EXPECT_THAT(why(two(0, 8, 0, 8), bytes(8)), HasSubstr("tensors 'a' and 'b' overlap at data byte 0"));
  EXPECT_THAT(why(two(0, 4, 4, 8), bytes(7)),
              HasSubstr("need 8 bytes of data and it has 7; the file is truncated: download it again"));
  EXPECT_THAT(why(two(0, 4, 4, 8), bytes(9)), HasSubstr("bytes after the last tensor are not allowed"));
  EXPECT_THAT(why(two(0, 4, 4, 8), bytes(8) + "PK\x03\x04"), HasSubstr("not allowed"));
}

// ST10
TEST(SafetensorsHeaderTest, SizesDoNotWrap) {
  for (const char* shape :
       {"2,9223372036854775807", "4294967296,4294967296", "9223372036854775807,3,0", "2305843009213693952"})
    EXPECT_THAT(why(one("F64", shape, 0, 8), bytes(8)), AllOf(HasSubstr("overflows 64 bits"), HasSubstr("tensor 'w'")))
        << shape;
  EXPECT_NO_THROW(parse(one("F32", "0,9223372036854775807", 0, 0), ""));
  EXPECT_THAT(why(one("F32", "3", 0, 8), bytes(8)), HasSubstr("needs 12 bytes for its shape and dtype F32 but has 8"));
  std::string many = "1";
  for (int i = 0; i < 1'000'000; ++i) many += ",1";
  EXPECT_THAT(why(one("U8", many, 0, 1), bytes(1)), HasSubstr("has 1000001 dimensions, the limit is 32"));
}

// ST11: in one pass, not one comparison a pair
TEST(SafetensorsHeaderTest, ManyOverlappingTensorsAreRefusedQuickly) {
  constexpr int kTensors = 1'000'000;
  std::string header = "{";
  for (int i = 0; i < kTensors; ++i) header += (i ? "," : "") + entry(std::to_string(i), "U8", "1", 0, 1);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(why(header + "}", bytes(1)), HasSubstr("overlap"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

// ST12
TEST(SafetensorsHeaderTest, NamesAreOpaqueAndPrintedEscaped) {
  const auto h =
      parse("{" + entry("", "U8", "1", 0, 1) + "," + entry("../etc/passwd", "U8", "1", 1, 2) + "," +
                entry("__metadata__x", "U8", "1", 2, 3) + "," + entry("\\u001b[31m\\u202e", "U8", "1", 3, 4) + "}",
            bytes(4));
  EXPECT_EQ(h.tensors.size(), 4u);
  EXPECT_EQ(h.tensors[3].name, "\x1b[31m\xe2\x80\xae");
  const std::string message = why("{" + entry("\\u001b[31m\\u202e", "U8", "1", 1, 2) + "}", bytes(2));
  EXPECT_THAT(message, HasSubstr(R"('\x1b[31m\xe2\x80\xae')"));
  EXPECT_LT(why("{" + entry(std::string(1'000'000, 'n'), "U8", "1", 1, 2) + "}", bytes(2)).size(), 600u);
}

// ST13
TEST(SafetensorsHeaderTest, TakesEmptyTensorsScalarsAndWhiteSpace) {
  const auto h = parse(" \n{" + entry("e", "F32", "0,4", 0, 0) + "," + entry("s", "F32", "", 0, 4) + "," +
                           entry("o", "U8", "1", 4, 5) + "," + entry("odd", "F32", "1", 5, 9) + "}  \n",
                       bytes(9));
  EXPECT_EQ(h.tensors.size(), 4u);
  EXPECT_EQ(h.tensors.front().name, "e");
}

TEST(SafetensorsHeaderTest, NamesAGitLfsPointer) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
  EXPECT_THAT(why(pointer), HasSubstr("'w.safetensors' is a Git LFS pointer, not the file: run git lfs pull"));
}

TEST(SafetensorsFileTest, ReadsPartsOfTensors) {
  const test::ScratchFolder folder;
  const SafetensorsFile file(
      folder.put("w.safetensors",
                 safetensors("{" + entry("a", "U8", "3", 0, 3) + "," + entry("b", "U8", "4", 3, 7) + "}", "abcdefg")));
  ASSERT_NE(file.find("b"), nullptr);
  EXPECT_EQ(file.find("c"), nullptr);
  std::string part(2, ' ');
  file.read(*file.find("b"), 1, std::as_writable_bytes(std::span(part)));
  EXPECT_EQ(part, "ef");
  std::string too_much(4, ' ');
  refusal([&] { file.read(*file.find("b"), 1, std::as_writable_bytes(std::span(too_much))); }, ErrorKind::kFailure);
}

// ST14: a signal would end the process here if the file were mapped
TEST(SafetensorsFileTest, AFileThatShrinksIsAnError) {
  const test::ScratchFolder folder;
  const auto path = folder.put("w.safetensors", safetensors(one("U8", "4000000", 0, 4'000'000), bytes(4'000'000)));
  const SafetensorsFile file(path);
  std::filesystem::resize_file(path, 1000);
  std::string all(4'000'000, ' ');
  EXPECT_THAT(refusal([&] { file.read(*file.find("w"), 0, std::as_writable_bytes(std::span(all))); }),
              HasSubstr("was it changed while it was read?"));
}

}  // namespace
}  // namespace awq::io
