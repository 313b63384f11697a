#include "bench/shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "awq/error.h"

namespace awq::bench {
namespace {

// From each model's config.json: heads and key/value heads x head size, hidden and intermediate size.
// clang-format off
constexpr ModelShapes kModels[] = {
    // name         layers   qkv                    o                    gate_up                  down
    {"llama2-7b",    32, {{{"qkv", 12288, 4096}, {"o", 4096, 4096}, {"gate_up", 22016, 4096}, {"down", 4096, 11008}}}},
    {"llama3-8b",    32, {{{"qkv",  6144, 4096}, {"o", 4096, 4096}, {"gate_up", 28672, 4096}, {"down", 4096, 14336}}}},
    {"llama3-70b",   80, {{{"qkv", 10240, 8192}, {"o", 8192, 8192}, {"gate_up", 57344, 8192}, {"down", 8192, 28672}}}},
    {"llama2-13b",   40, {{{"qkv", 15360, 5120}, {"o", 5120, 5120}, {"gate_up", 27648, 5120}, {"down", 5120, 13824}}}},
    {"llama3.2-1b",  16, {{{"qkv",  3072, 2048}, {"o", 2048, 2048}, {"gate_up", 16384, 2048}, {"down", 2048,  8192}}}},
    {"llama3.2-3b",  28, {{{"qkv",  5120, 3072}, {"o", 3072, 3072}, {"gate_up", 16384, 3072}, {"down", 3072,  8192}}}},
    {"mistral-7b",   32, {{{"qkv",  6144, 4096}, {"o", 4096, 4096}, {"gate_up", 28672, 4096}, {"down", 4096, 14336}}}},
    {"qwen2.5-7b",   28, {{{"qkv",  4608, 3584}, {"o", 3584, 3584}, {"gate_up", 37888, 3584}, {"down", 3584, 18944}}}},
    {"qwen2.5-32b",  64, {{{"qkv",  7168, 5120}, {"o", 5120, 5120}, {"gate_up", 55296, 5120}, {"down", 5120, 27648}}}},
    {"qwen3-8b",     36, {{{"qkv",  6144, 4096}, {"o", 4096, 4096}, {"gate_up", 24576, 4096}, {"down", 4096, 12288}}}},
};
// clang-format on

std::optional<int64_t> positive(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

std::vector<std::string_view> comma_separated(std::string_view text) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

const ModelShapes* model_named(std::string_view name) {
  const auto model = std::ranges::find(kModels, name, &ModelShapes::name);
  return model == std::end(kModels) ? nullptr : model;
}

std::string known_models() {
  std::string names;
  for (const ModelShapes& model : kModels) names += fmt::format("{}{}", names.empty() ? "" : ", ", model.name);
  return names;
}

void add(std::vector<LinearShape>& shapes, LinearShape shape) {
  const auto same = std::ranges::find_if(shapes, [&](const auto& s) { return s.n == shape.n && s.k == shape.k; });
  if (same == shapes.end()) return shapes.push_back(std::move(shape));
  if (!shape.used_by.empty()) same->used_by += (same->used_by.empty() ? "" : ", ") + shape.used_by;
}

}  // namespace

std::span<const ModelShapes> model_shapes() { return kModels; }

const ModelShapes& find_model_shapes(std::string_view name) {
  if (const ModelShapes* model = model_named(name)) return *model;
  throw Error(ErrorKind::kUsage, fmt::format("no shapes are known for '{}'; known: {}", name, known_models()));
}

std::vector<LinearShape> parse_shapes(std::string_view text) {
  std::vector<LinearShape> shapes;
  for (const std::string_view one : comma_separated(text)) {
    if (const ModelShapes* model = model_named(one)) {
      for (const ModelLinear& linear : model->linears)
        add(shapes, {linear.n, linear.k, fmt::format("{} {}", model->name, linear.name)});
      continue;
    }
    const size_t x = one.find('x');
    const auto n = positive(one.substr(0, x)), k = x < one.size() ? positive(one.substr(x + 1)) : std::nullopt;
    if (!n || !k)
      throw Error(ErrorKind::kUsage, fmt::format("'{}' is not a shape; write NxK, for example 4096x4096, or one of {}",
                                                 one, known_models()));
    add(shapes, {*n, *k, {}});
  }
  return shapes;
}

std::string to_string(const LinearShape& shape) { return fmt::format("{}x{}", shape.n, shape.k); }

std::vector<int64_t> parse_tokens(std::string_view text) {
  std::vector<int64_t> tokens;
  for (const std::string_view one : comma_separated(text)) {
    const auto m = positive(one);
    if (!m) throw Error(ErrorKind::kUsage, fmt::format("'{}' is not a number of tokens; write 1,8,512", one));
    tokens.push_back(*m);
  }
  std::ranges::sort(tokens);
  tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
  return tokens;
}

}  // namespace awq::bench
