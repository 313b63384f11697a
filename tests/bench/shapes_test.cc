#include "bench/shapes.h"

#include <gmock/gmock.h>

#include "awq/error.h"

namespace awq::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Body>
std::string usage_error(Body body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "no error";
}

TEST(Shapes, OfTheThreeUsualModelsAreEleven) {
  const auto shapes = parse_shapes("llama2-7b,llama3-8b,llama3-70b");
  ASSERT_EQ(shapes.size(), 11u);
  EXPECT_EQ(to_string(shapes[0]), "12288x4096");
  EXPECT_EQ(shapes[1].used_by, "llama2-7b o, llama3-8b o");  // one shape, both users
}

TEST(Shapes, ModelsAndNumbersMix) {
  const auto shapes = parse_shapes("100x64,llama3.2-1b,100x64");
  ASSERT_EQ(shapes.size(), 5u);
  EXPECT_EQ(shapes[0].n, 100);
  EXPECT_EQ(shapes[0].k, 64);
  EXPECT_EQ(shapes[0].used_by, "");
}

TEST(Shapes, OfEveryModelFitTheKernelsAndEachOther) {
  for (const ModelShapes& model : model_shapes()) {
    const auto& [qkv, o, gate_up, down] = model.linears;
    EXPECT_EQ(qkv.k, gate_up.k) << model.name;
    EXPECT_EQ(o.n, qkv.k) << model.name;
    EXPECT_EQ(down.n, qkv.k) << model.name;
    EXPECT_EQ(gate_up.n, 2 * down.k) << model.name;
    for (const ModelLinear& linear : model.linears) {
      EXPECT_EQ(linear.k % 128, 0) << model.name << ' ' << linear.name;
      EXPECT_EQ(linear.n % 8, 0) << model.name << ' ' << linear.name;
    }
    EXPECT_EQ(&find_model_shapes(model.name), &model);
  }
}

TEST(Shapes, BadOnesAreNamed) {
  EXPECT_THAT(usage_error([] { parse_shapes("4096x"); }), HasSubstr("'4096x' is not a shape"));
  EXPECT_THAT(usage_error([] { parse_shapes("4096x4096,"); }), HasSubstr("'' is not a shape"));
  EXPECT_THAT(usage_error([] { parse_shapes("-1x4"); }), HasSubstr("'-1x4'"));
  EXPECT_THAT(usage_error([] { parse_shapes("99999999999999999999x4"); }), HasSubstr("is not a shape"));
  EXPECT_THAT(usage_error([] { find_model_shapes("gpt2"); }), HasSubstr("known: llama2-7b"));
}

TEST(Tokens, AreSortedAndUnique) {
  EXPECT_THAT(parse_tokens("8,1,512,8"), ElementsAre(1, 8, 512));
  EXPECT_THAT(usage_error([] { parse_tokens("1,zero"); }), HasSubstr("'zero' is not a number of tokens"));
  EXPECT_THAT(usage_error([] { parse_tokens("0"); }), HasSubstr("'0'"));
  EXPECT_THAT(usage_error([] { parse_tokens(""); }), HasSubstr("''"));
}

}  // namespace
}  // namespace awq::bench
