// Published models as numbers: what their config.json says, and nothing of what they learned.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/dtype.h"

namespace awq::tools {

struct PublishedShape {
  std::string_view name;   // --like
  std::string_view model;  // whose config.json the numbers are from; "" for our own
  std::string_view architecture, model_type;
  int64_t layers, hidden, heads, kv_heads, intermediate, vocab, max_positions;
  double rope_theta, norm_eps;
  int32_t bos, eos;
  std::string_view extra;  // the keys that only this family has, as JSON
};

std::span<const PublishedShape> published_shapes();
const PublishedShape& published_shape(std::string_view name);  // Error(kUsage) naming those there are

// config.json, with `layers` in place of the published depth.
std::string config_json(const PublishedShape&, int64_t layers, Dtype);

}  // namespace awq::tools
