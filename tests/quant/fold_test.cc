#include "backend/cpu/fold.h"

#include <gtest/gtest.h>

#include "model/architectures.h"

namespace awq::backend::cpu {
namespace {

// All values are powers of two, so folding is exact and equality is the right test.
FloatBlock small_block(int64_t v_rows) {
  FloatBlock b;
  b.tensors = {{"input_layernorm.weight", {4}, {1, 2, 4, 8}},
               {"self_attn.v_proj.weight", {v_rows, 4}, std::vector<float>(v_rows * 4, 0.5f)},
               {"self_attn.v_proj.bias", {v_rows}, std::vector<float>(v_rows, 0.25f)},
               {"self_attn.o_proj.weight", {4, 4}, std::vector<float>(16, 2.f)}};
  return b;
}
const model::LayerGroup kNormGroup = {"input_layernorm", {"self_attn.v_proj"}, "self_attn.v_proj", false, true};
const model::LayerGroup kValueGroup = {"self_attn.v_proj", {"self_attn.o_proj"}, "self_attn.o_proj", true, true};

TEST(Fold, NormIsDividedAndColumnsMultiplied) {
  FloatBlock b = small_block(4);
  const float s[] = {2, 4, 0.5f, 1};
  fold_scale(b, kNormGroup, s);
  EXPECT_EQ(b.find("input_layernorm.weight")->data, (std::vector<float>{0.5f, 0.5f, 8, 8}));
  const FloatBlock before = small_block(4);
  for (int k = 0; k < 4; ++k) {
    const float norm = b.find("input_layernorm.weight")->data[k], w = b.find("self_attn.v_proj.weight")->data[k];
    EXPECT_EQ(norm * w, before.tensors[0].data[k] * before.tensors[1].data[k]);  // the product the model computes
  }
}

TEST(Fold, ProducerRowsAndBiasAreDivided) {
  FloatBlock b = small_block(4);
  const float s[] = {2, 4, 0.5f, 1};
  fold_scale(b, kValueGroup, s);
  for (int r = 0; r < 4; ++r) {
    EXPECT_EQ(b.find("self_attn.v_proj.weight")->data[r * 4], 0.5f / s[r]);
    EXPECT_EQ(b.find("self_attn.v_proj.bias")->data[r], 0.25f / s[r]);
    EXPECT_EQ(b.find("self_attn.o_proj.weight")->data[r], 2.f * s[r]);
  }
}

TEST(Fold, OnlyTheLastRowsOfAFusedProducerAreDivided) {
  FloatBlock b = small_block(6);
  const float s[] = {2, 4, 0.5f, 8};
  fold_scale(b, kValueGroup, s);
  for (int r = 0; r < 6; ++r) EXPECT_EQ(b.find("self_attn.v_proj.bias")->data[r], r < 2 ? 0.25f : 0.25f / s[r - 2]);
}

}  // namespace
}  // namespace awq::backend::cpu
