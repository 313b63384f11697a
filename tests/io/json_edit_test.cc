#include <gmock/gmock.h>

#include "io/json.h"
#include "scratch.h"

namespace awq::io {
namespace {

using test::refusal;
using testing::HasSubstr;

struct Edit {
  const char *before, *key, *value, *after;
};
class WithMemberTest : public testing::TestWithParam<Edit> {};

TEST_P(WithMemberTest, ChangesNothingElse) {
  const Edit& e = GetParam();
  EXPECT_EQ(with_member(e.before, e.key, e.value), e.after);
}

constexpr Edit kEdits[] = {
    // replaced
    {R"({"a":1,"b":2})", "a", "[3]", R"({"a":[3],"b":2})"},
    {"{\n  \"a\": {\"x\": [1, {\"}\": \"]\"}]},\n  \"b\": 1e-05\n}\n", "a", "null",
     "{\n  \"a\": null,\n  \"b\": 1e-05\n}\n"},
    {R"({"q":"a \" } , \\","b":1.0})", "b", "2", R"({"q":"a \" } , \\","b":2})"},
    {R"({"a":{"b":1},"b":2})", "b", "3", R"({"a":{"b":1},"b":3})"},  // the nested one stays
    {R"({"\u0062":2})", "b", "3", R"({"\u0062":3})"},
    {R"({"t":Infinity , "b" : NaN })", "b", "3", R"({"t":Infinity , "b" : 3 })"},
    // appended, with the file's own indentation
    {"{\n    \"a\": 1\n}\n", "k", "{}", "{\n    \"a\": 1,\n    \"k\": {}\n}\n"},
    {"{\r\n\t\"a\" : 1\r\n}  \n\n", "k", "true", "{\r\n\t\"a\" : 1,\r\n\t\"k\" : true\r\n}  \n\n"},
    {R"({"a":1,"b":2})", "k", "3", R"({"a":1,"b":2,"k":3})"},
    {R"({"a": 1, "b": 2})", "k", "3", R"({"a": 1, "b": 2, "k": 3})"},
    {"{}", "k\"", "3", R"({"k\"": 3})"},
    {" {\n} ", "k", "3", " {\"k\": 3\n} "},
    // removed
    {"{\n  \"a\": 1,\n  \"b\": 2\n}", "a", "", "{\n  \"b\": 2\n}"},
    {"{\n  \"a\": 1,\n  \"b\": 2\n}", "b", "", "{\n  \"a\": 1\n}"},
    {R"({"a":1,"b":2,"c":3})", "b", "", R"({"a":1,"c":3})"},
    {R"({"a":1})", "a", "", "{}"},
    {R"({"a":1 })", "z", "", R"({"a":1 })"},
};
INSTANTIATE_TEST_SUITE_P(Edits, WithMemberTest, testing::ValuesIn(kEdits));

TEST(WithMemberRefusalTest, OnlyObjectsAreEdited) {
  EXPECT_THAT(refusal([] { with_member("[1]", "a", "2"); }), HasSubstr("not an object"));
  EXPECT_THAT(refusal([] { with_member("{", "a", "2"); }), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal([] { with_member(R"({"a":1,"a":2})", "a", "2"); }), HasSubstr("'a' twice"));
}

TEST(MemberTextTest, IsTheMemberAsWritten) {
  EXPECT_EQ(member_text(R"({"a": { "x" :1e-05 } , "b":2})", "a"), R"({ "x" :1e-05 })");
  EXPECT_EQ(member_text(R"({"\u0062":"}"})", "b"), "\"}\"");
  EXPECT_EQ(member_text(R"({"a":{"b":1}})", "b"), "");
  EXPECT_EQ(member_text("{}", "b"), "");
  EXPECT_THAT(refusal([] { member_text("[1]", "a"); }), HasSubstr("not an object"));
}

}  // namespace
}  // namespace awq::io
