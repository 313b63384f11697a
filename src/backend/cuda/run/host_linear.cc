#include "backend/cuda/run/host_linear.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "awq/error.h"
#include "backend/cuda/arguments.h"

namespace awq::backend::cuda {
namespace {

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

f16_t checked_half(float value, const std::string& module) {
  const f16_t half = f32_to_f16(value);
  if ((half & 0x7c00) == 0x7c00)
    throw Error(
        ErrorKind::kBadInput,
        fmt::format("the bias of {} holds {}, which float16 on the GPU cannot: run with --device cpu", module, value));
  return half;
}

// The part's rows as codes, or nothing where it is stored as floats.
struct Part {
  bool is_packed = false;
  format::QuantizedLinear packed;
  format::SalientColumns salient;
  std::vector<f16_t> dense, bias;
};

Part read_part(const WeightSource& source, const LinearPart& part, int64_t k) {
  Part out;
  out.is_packed = source.is_packed(part.module);
  if (out.is_packed) {
    out.packed = source.packed(part.module, part.n, k);
    out.salient = source.salient(part.module, part.n, k);
    out.bias = std::move(out.packed.bias);
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

bool kernels_take(std::span<const Part> parts, int64_t n, int64_t k) {
  return std::all_of(parts.begin(), parts.end(), [&](const Part& part) {
    return part.is_packed && part.packed.group == parts[0].packed.group && is_layout(n, k, part.packed.group);
  });
}

// Channels of any part; a part without one of them has zeros there.
format::SalientColumns joined_salient(std::span<const Part> parts, std::span<const LinearPart> shapes, int64_t n) {
  format::SalientColumns all;
  for (const Part& part : parts) append(all.index, part.salient.index);
  std::sort(all.index.begin(), all.index.end());
  all.index.erase(std::unique(all.index.begin(), all.index.end()), all.index.end());
  all.delta.resize(all.index.size() * static_cast<size_t>(n));
  size_t first = 0;
  for (size_t p = 0; p < parts.size(); ++p) {
    const auto rows = static_cast<size_t>(shapes[p].n);
    for (size_t i = 0; i < parts[p].salient.index.size(); ++i) {
      const auto at =
          std::lower_bound(all.index.begin(), all.index.end(), parts[p].salient.index[i]) - all.index.begin();
      std::copy_n(parts[p].salient.delta.begin() + static_cast<std::ptrdiff_t>(i * rows), rows,
                  all.delta.begin() + at * n + static_cast<std::ptrdiff_t>(first));
    }
    first += rows;
  }
  return all;
}

std::vector<f16_t> joined_bias(std::span<const Part> parts, std::span<const LinearPart> shapes) {
  std::vector<f16_t> all;
  if (std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.bias.empty(); })) return all;
  for (size_t p = 0; p < parts.size(); ++p) {
    const size_t before = all.size();
    append(all, parts[p].bias);
    all.resize(before + static_cast<size_t>(shapes[p].n));
  }
  return all;
}

}  // namespace

HostLinear read_linear(const WeightSource& source, std::span<const LinearPart> shapes, int64_t k, bool any_version) {
  HostLinear out;
  out.k = k;
  std::vector<Part> parts;
  for (const LinearPart& shape : shapes) {
    parts.push_back(read_part(source, shape, k));
    out.n += shape.n;
  }
  out.bias = joined_bias(parts, shapes);
  out.is_packed = kernels_take(parts, out.n, k);
  if (out.is_packed) {
    out.salient = joined_salient(parts, shapes, out.n);
    out.packed = std::move(parts[0].packed);
    out.packed.n = out.n;
    for (size_t p = 1; p < parts.size(); ++p) {
      append(out.packed.q, parts[p].packed.q);
      append(out.packed.scales, parts[p].packed.scales);
      append(out.packed.zeros, parts[p].packed.zeros);
    }
    return out;
  }
  for (size_t p = 0; p < parts.size(); ++p) {
    if (parts[p].is_packed && !any_version)
      throw Error(ErrorKind::kBadInput,
                  fmt::format("no CUDA kernel takes {}: n = {}, k = {}, groups of {}; leave --version at auto, which "
                              "runs it unpacked",
                              shapes[p].module, shapes[p].n, k, parts[p].packed.group));
    append(out.dense, parts[p].is_packed ? unpacked(parts[p]) : parts[p].dense);
  }
  return out;
}

}  // namespace awq::backend::cuda
