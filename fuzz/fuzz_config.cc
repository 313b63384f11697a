// config.json: an Error or numbers that every later size computation can take; and the edit of it changes one member.
#include <cstdint>
#include <string>
#include <string_view>

#include "awq/error.h"
#include "core/checked.h"
#include "io/json.h"
#include "model/architectures.h"

namespace {

void require(bool promise) {
  if (!promise) __builtin_trap();
}

uint64_t elements(const std::vector<int64_t>& shape) {
  uint64_t count = 1;
  for (const int64_t dim : shape) {
    require(dim > 0);
    count = awq::checked_mul(count, static_cast<uint64_t>(dim), "elements");  // an Error here is a finding, see below
  }
  return awq::checked_mul(count, sizeof(double), "bytes");
}

// Outside of any try: a config that was accepted must not overflow afterwards.
void use(const awq::model::ModelConfig& c) {
  require(c.heads % c.kv_heads == 0 && c.head_dim % 2 == 0);
  require(c.layer_slides.size() == static_cast<size_t>(c.layers));
  for (const auto& need : awq::model::outer_tensors(c)) elements(need.shape);
  for (const auto& need : awq::model::block_tensors(c, c.layers - 1)) elements(need.shape);
}

void edit(std::string_view text) {
  const awq::io::Json before = awq::io::Json::parse(text, "input");
  if (!before.object()) return;
  const std::string edited = awq::io::with_member(text, "quantization_config", R"({"bits": 4})");
  const awq::io::Json after = awq::io::Json::parse(edited, "edited");
  require(after.find("quantization_config")->find("bits")->integer() == 4);
  const bool replaced = before.find("quantization_config") != nullptr;
  require(after.object()->size() == before.object()->size() + (replaced ? 0 : 1));
  const std::string removed = awq::io::with_member(edited, "quantization_config", "");
  require(awq::io::Json::parse(removed, "removed").object()->size() == after.object()->size() - 1);
  if (!replaced && !before.object()->empty()) require(removed == text);
}

template <class Body>
bool accepted(Body&& body) {
  try {
    body();
    return true;
  } catch (const awq::Error& e) {
    require(e.kind() == awq::ErrorKind::kBadInput && *e.what() != 0);
    return false;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  awq::model::ModelConfig config;
  if (accepted([&] { config = awq::model::parse_config(text, "input"); })) use(config);
  if (accepted([&] { awq::io::Json::parse(text, "input"); })) edit(text);
  return 0;
}
