#include "awq/error.h"

#include <gmock/gmock.h>

namespace awq {
namespace {

TEST(ErrorTest, ContextFollowsTheCauseInTheOrderOfTheCallers) {
  try {
    with_context([] { return std::string("quantizing block 3"); },
                 [] {
                   with_context([] { return std::string("reading tensor w"); },
                                [] { throw Error(ErrorKind::kBadInput, "the file ends"); });
                 });
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "the file ends\n  while reading tensor w\n  while quantizing block 3");
    EXPECT_EQ(e.kind(), ErrorKind::kBadInput);
    EXPECT_THAT(e.where(), testing::HasSubstr("error_test.cc:"));
  }
}

TEST(ErrorTest, ContextCostsNothingWithoutAnError) {
  EXPECT_EQ(with_context([]() -> std::string { throw 1; }, [] { return 7; }), 7);
}

}  // namespace
}  // namespace awq
