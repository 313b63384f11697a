#include "backend/cuda/run/host_linear.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "awq/error.h"
#include "backend/cuda/arguments.h"

namespace awq::backend::cuda {
namespace {

f16_t checked_half(float value, const std::string& module) {
  const f16_t half = f32_to_f16(value);
  if (!is_finite_f16(half))
    throw Error(
        ErrorKind::kBadInput,
        fmt::format("the bias of {} holds {}, which float16 on the GPU cannot: run with --device cpu", module, value));
  return half;
}

// The part's rows as they are stored, else as codes, or as floats.
struct Part {
  bool is_packed = false;
  int64_t n = 0;
  int group = 0;
  std::optional<format::StoredLinear> stored;
  format::QuantizedLinear packed;
  format::SalientColumns salient;
  std::vector<f16_t> dense, bias;
};

Part read_part(const WeightSource& source, const LinearPart& part, int64_t k) {
  Part out;
  out.n = part.n;
  out.is_packed = source.is_packed(part.module);
  if (out.is_packed) {
    out.stored = source.stored(part.module, part.n, k);
    if (!out.stored) out.packed = source.packed(part.module, part.n, k);
    out.group = out.stored ? out.stored->group : out.packed.group;
    out.bias = std::move(out.stored ? out.stored->bias : out.packed.bias);
    out.salient = source.salient(part.module, part.n, k);
    return out;
  }
  out.dense.resize(static_cast<size_t>(part.n * k));
  source.read_f16(part.module + ".weight", 0, part.n, out.dense);
  if (part.bias)
    for (const float value : source.read_f32(part.module + ".bias"))
      out.bias.push_back(checked_half(value, part.module));
  return out;
}

// s (q - z), rounded once, with the correction of salient channels in it.
std::vector<f16_t> unpacked(const Part& part) {
  const format::QuantizedLinear& w = part.packed;
  std::vector<float> row(static_cast<size_t>(w.k));
  std::vector<f16_t> out;
  out.reserve(static_cast<size_t>(w.n * w.k));
  for (int64_t r = 0; r < w.n; ++r) {
    for (int64_t c = 0; c < w.k; ++c) row[static_cast<size_t>(c)] = w.dequantized(r, c);
    for (size_t i = 0; i < part.salient.index.size(); ++i)
      row[static_cast<size_t>(part.salient.index[i])] +=
          f16_to_f32(part.salient.delta[i * static_cast<size_t>(w.n) + static_cast<size_t>(r)]);
    std::transform(row.begin(), row.end(), std::back_inserter(out), f32_to_f16);
  }
  return out;
}

// What is stored of the rows of all parts, `width` entries a row: part after part, or kRowsInTurn of each in turn.
template <class Of>
auto joined(std::span<Part> parts, size_t width, bool in_turn, const Of& of) {
  std::decay_t<decltype(of(parts[0]))> all;
  if (parts.size() == 1) return all = std::move(of(parts[0]));
  size_t most = 0, sum = 0;
  for (Part& part : parts) most = std::max(most, of(part).size()), sum += of(part).size();
  all.reserve(sum);
  const size_t step = in_turn ? kRowsInTurn * width : std::max<size_t>(most, 1);
  for (size_t first = 0; first < most; first += step)
    for (Part& part : parts) {
      const auto& from = of(part);
      all.insert(all.end(), from.begin() + static_cast<std::ptrdiff_t>(std::min(first, from.size())),
                 from.begin() + static_cast<std::ptrdiff_t>(std::min(first + step, from.size())));
    }
  return all;
}

// Codes of the parts that were left as they are stored: not all of them go to the device so.
void take_apart(const WeightSource& source, std::span<const LinearPart> shapes, int64_t k, std::span<Part> parts) {
  for (size_t p = 0; p < parts.size(); ++p)
    if (parts[p].stored) parts[p].packed = source.packed(shapes[p].module, shapes[p].n, k);
}

bool kernels_take(std::span<const Part> parts, int64_t n, int64_t k) {
  return std::all_of(parts.begin(), parts.end(), [&](const Part& part) {
    return part.is_packed && part.group == parts[0].group && is_layout(n, k, part.group);
  });
}

// The same for deltas of salient channels, which are stored channel by channel: channels of any part; a part without
// one of them has zeros there.
format::SalientColumns joined_salient(std::span<const Part> parts, int64_t n, bool in_turn) {
  format::SalientColumns all;
  for (const Part& part : parts)
    all.index.insert(all.index.end(), part.salient.index.begin(), part.salient.index.end());
  std::sort(all.index.begin(), all.index.end());
  all.index.erase(std::unique(all.index.begin(), all.index.end()), all.index.end());
  all.delta.resize(all.index.size() * static_cast<size_t>(n));
  int64_t first = 0;
  for (size_t p = 0; p < parts.size(); ++p) {
    const format::SalientColumns& from = parts[p].salient;
    const int64_t rows = parts[p].n;
    for (size_t i = 0; i < from.index.size(); ++i) {
      const auto at = std::lower_bound(all.index.begin(), all.index.end(), from.index[i]) - all.index.begin();
      for (int64_t r = 0; r < rows; ++r)
        all.delta[static_cast<size_t>(at * n + (in_turn ? row_in_turn(static_cast<int64_t>(p), r) : first + r))] =
            from.delta[i * static_cast<size_t>(rows) + static_cast<size_t>(r)];
    }
    first += rows;
  }
  return all;
}

}  // namespace

HostLinear read_linear(const WeightSource& source, std::span<const LinearPart> shapes, int64_t k, bool in_turn,
                       bool any_version) {
  HostLinear out;
  out.k = k;
  std::vector<Part> parts;
  for (const LinearPart& shape : shapes) {
    parts.push_back(read_part(source, shape, k));
    out.n += shape.n;
  }
  if (std::any_of(parts.begin(), parts.end(), [](const Part& part) { return !part.bias.empty(); })) {
    for (size_t p = 0; p < parts.size(); ++p) parts[p].bias.resize(static_cast<size_t>(shapes[p].n));
    out.bias = joined(
        parts, 1, in_turn, [](Part & part) -> auto& { return part.bias; });
  }
  out.is_packed = kernels_take(parts, out.n, k);
  if (out.is_packed) {
    out.salient = joined_salient(parts, out.n, in_turn);
    if (std::ranges::all_of(parts, [](const Part& part) { return part.stored.has_value(); })) {
      for (Part& part : parts) out.stored.push_back(std::move(*part.stored));
      out.in_turn = in_turn;
      return out;
    }
    take_apart(source, shapes, k, parts);
    const auto groups = static_cast<size_t>(k / parts[0].group);
    out.packed.n = out.n, out.packed.k = k, out.packed.group = parts[0].group;
    out.packed.q = joined(
        parts, static_cast<size_t>(k), in_turn, [](Part & part) -> auto& { return part.packed.q; });
    out.packed.scales = joined(
        parts, groups, in_turn, [](Part & part) -> auto& { return part.packed.scales; });
    out.packed.zeros = joined(
        parts, groups, in_turn, [](Part & part) -> auto& { return part.packed.zeros; });
    return out;
  }
  take_apart(source, shapes, k, parts);
  for (size_t p = 0; p < parts.size(); ++p) {
    if (!parts[p].is_packed) continue;
    if (!any_version)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("no CUDA kernel takes {}: n = {}, k = {}, groups of {}; leave --version at auto, which "
                              "runs it unpacked",
                              shapes[p].module, shapes[p].n, k, parts[p].group));
    parts[p].dense = unpacked(parts[p]);
  }
  out.dense = joined(
      parts, static_cast<size_t>(k), in_turn, [](Part & part) -> auto& { return part.dense; });
  return out;
}

}  // namespace awq::backend::cuda
