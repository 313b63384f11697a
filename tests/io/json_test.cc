#include "io/json.h"

#include <gmock/gmock.h>

#include "scratch.h"

namespace awq::io {
namespace {

using test::refusal;
using testing::HasSubstr;

Json parse(std::string_view text) { return Json::parse(text, "c.json"); }

TEST(JsonTest, AccessorsAnswerOnlyForTheirType) {
  const Json j =
      parse(R"({"s":"x","i":-3,"f":4096.0,"h":0.5,"b":true,"n":null,"a":[1,2],"o":{"k":1},"u":18446744073709551615})");
  EXPECT_EQ(*j.find("s")->string(), "x");
  EXPECT_EQ(j.find("i")->integer(), -3);
  EXPECT_EQ(j.find("f")->integer(), 4096);
  EXPECT_EQ(j.find("h")->integer(), std::nullopt);
  EXPECT_EQ(j.find("u")->integer(), std::nullopt);
  EXPECT_EQ(j.find("u")->number(), 0x1p64);
  EXPECT_EQ(j.find("b")->boolean(), true);
  EXPECT_EQ(j.find("b")->integer(), std::nullopt);
  EXPECT_TRUE(j.find("n")->is_null());
  EXPECT_EQ(j.find("a")->array()->size(), 2u);
  EXPECT_EQ(j.find("o")->find("k")->integer(), 1);
  EXPECT_EQ(j.find("a")->find("k"), nullptr);
  EXPECT_EQ(j.find("absent"), nullptr);
}

TEST(JsonTest, IntegersAtTheEdgeOfDoubles) {
  EXPECT_EQ(parse("-9223372036854775808.0").integer(), INT64_MIN);
  EXPECT_EQ(parse("9223372036854775808.0").integer(), std::nullopt);
  EXPECT_EQ(parse("1e300").integer(), std::nullopt);
}

TEST(JsonTest, DuplicateKeysAreRefusedAtEveryDepth) {
  for (const char* text : {R"({"a":1,"a":2})", R"([{"x":{"a":1,"b":2,"a":1}}])", R"({"a":1,"\u0061":2})"})
    EXPECT_THAT(refusal([&] { parse(text); }), HasSubstr("c.json holds the key 'a' twice"));
}

TEST(JsonTest, PythonsNotNumbersAreNull) {
  const Json j = parse(R"({"a":NaN,"b":[-Infinity,Infinity],"NaN":"NaN \" Infinity","c":1})");
  EXPECT_TRUE(j.find("a")->is_null());
  EXPECT_TRUE(j.find("b")->array()->front().is_null());
  EXPECT_EQ(*j.find("NaN")->string(), "NaN \" Infinity");
  EXPECT_EQ(j.find("c")->integer(), 1);
  for (const char* text : {"NaNs", "-NaN", "{NaN:1}", "+Infinity"}) refusal([&] { parse(text); });
}

TEST(JsonTest, BrokenTextIsNamedAfterItsFile) {
  for (const std::string& text : {std::string(), std::string(" "), std::string("{"), std::string("[1,]"),
                                  std::string("// c\n1"), std::string("\"\xff\""), std::string(R"("\ud800")"),
                                  std::string("1 2"), std::string("\xef\xbb\xbf{}"), std::string(100'000, '[')})
    EXPECT_THAT(refusal([&] { parse(text); }), HasSubstr("c.json is not valid JSON")) << text.substr(0, 20);
  EXPECT_NO_THROW(parse(std::string(100, '[') + std::string(100, ']')));
}

}  // namespace
}  // namespace awq::io
