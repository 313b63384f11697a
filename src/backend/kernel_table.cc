#include "backend/kernel_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "awq/error.h"

namespace awq::backend {
namespace {

std::string dotted(int capability) { return fmt::format("{}.{}", capability / 10, capability % 10); }

std::string needed_capability(const KernelTraits& row, bool too_new) {
  if (row.capability_end == row.capability_min + 1)
    return fmt::format("compute capability {}", dotted(row.capability_min));
  return too_new ? fmt::format("a compute capability below {}", dotted(row.capability_end))
                 : fmt::format("compute capability {} or higher", dotted(row.capability_min));
}

std::string capability_refusal(const KernelTraits& row, const DeviceInfo& d) {
  const int runs = d.code_capability == 0 ? d.capability : d.code_capability;
  const bool too_new = runs >= row.capability_end;
  if (runs < row.capability_min || too_new)
    return fmt::format("needs {}, this device has {}{}", needed_capability(row, too_new), dotted(d.capability),
                       runs == d.capability ? "" : fmt::format(" and this build has code of {} for it", dotted(runs)));
  if (row.smem > std::max(d.smem_per_block, kSmemOfEveryGpu))
    return fmt::format("needs {} bytes of shared memory a block, this device has {}", row.smem,
                       std::max(d.smem_per_block, kSmemOfEveryGpu));
  return {};
}

std::string hardware_refusal(const KernelTraits& row, const DeviceInfo& d) {
  if (!d.unusable.empty()) return d.unusable;
  if (row.device != d.kind) return row.device == DeviceKind::kCpu ? "runs on a CPU" : "runs on a CUDA device";
  if (d.kind == DeviceKind::kCpu && (row.features & ~d.features)) return fmt::format("needs {}", row.needs_words);
  return d.kind == DeviceKind::kCuda ? capability_refusal(row, d) : "";
}

bool is_a_linear(const Problem& p) {
  return p.m >= 1 && p.n >= 1 && p.k >= 1 && p.group_size >= 1 && p.k % p.group_size == 0;
}

std::string shape_refusal(const KernelTraits& row, const Problem& p) {
  if (!is_a_linear(p)) return fmt::format("needs positive sizes and k a multiple of the group, got {}", to_string(p));
  if (row.tile_groups && p.group_size != 32 && p.group_size != 64 && p.group_size % 128 != 0 && p.group_size != p.k)
    return fmt::format("needs groups of 32, 64, a multiple of 128, or k, group = {}", p.group_size);
  if (p.bf16 && !row.bf16) return "takes float16 activations, not bfloat16";
  if (p.m > row.m_max) return fmt::format("needs m <= {}, m = {}", row.m_max, p.m);
  if (p.n % row.n_step != 0) return fmt::format("needs n % {} == 0, n = {}", row.n_step, p.n);
  if (p.k % row.k_step != 0) return fmt::format("needs k % {} == 0, k = {}", row.k_step, p.k);
  return {};
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

bool preferred_for(const KernelTraits& row, const Problem& p, const DeviceInfo& d) {
  if (p.m < row.prefer_m_min || p.m > row.prefer_m_max) return false;
  bool limited = false;
  for (const KernelTraits::Crossover& c : row.crossovers) {
    if (c.capability == 0 || c.capability != d.capability || p.k % c.k_step != 0) continue;
    limited = true;
    if (p.n <= int64_t{c.n_per_unit} * d.compute_units && p.m <= c.m_max && p.k <= c.k_max) return true;
  }
  return !limited;
}

bool asked_for(const KernelTraits& row, std::string_view version) {
  return version == "auto" || version == name(row.family) || version == row.name;
}

std::string known_versions(std::span<const KernelTraits> rows) {
  std::string text = "auto, gemm, gemv";
  for (const KernelTraits& row : rows) text += fmt::format(", {}", row.name);
  return text;
}

constexpr std::string_view kNotSupported = "Kernel version not supported on this hardware: ";

// Why no row that was asked for will do, and what would.
[[noreturn]] void throw_refusals(std::span<const KernelTraits> rows, const Problem& p, const DeviceInfo& d,
                                 std::string_view version) {
  if (!d.unusable.empty() || rows.empty())
    throw Error(ErrorKind::kDevice, fmt::format("{}{} on {}: {}", kNotSupported, version, d.name,
                                                rows.empty() ? "there are no kernels for it" : d.unusable));
  if (!is_a_linear(p))
    throw Error(ErrorKind::kBadInput,
                fmt::format("no kernel for {}: sizes must be positive and k a multiple of the group", to_string(p)));
  std::string reasons, instead = d.kind == DeviceKind::kCuda ? "; nothing else fits: use --device cpu" : "";
  bool shape_is_the_reason = false, has_instead = false;
  for (const KernelTraits& row : rows) {
    const std::string why = refusal(row, p, d);
    if (why.empty() && !std::exchange(has_instead, true)) instead = fmt::format("; use {} or auto", row.name);
    if (!asked_for(row, version)) continue;
    shape_is_the_reason |= hardware_refusal(row, d).empty();
    reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", row.name, why);
  }
  if (shape_is_the_reason)
    throw Error(ErrorKind::kBadInput,
                fmt::format("no kernel for {} on {}: {}{}", to_string(p), d.name, reasons, instead));
  throw Error(ErrorKind::kDevice, fmt::format("{}{} on {}: {}{}", kNotSupported, version, d.name, reasons, instead));
}

}  // namespace

std::string refusal(const KernelTraits& row, const Problem& p, const DeviceInfo& d) {
  std::string why = hardware_refusal(row, d);
  return why.empty() ? shape_refusal(row, p) : why;
}

size_t select_row(std::span<const KernelTraits> rows, const Problem& p, const DeviceInfo& d, std::string_view version) {
  const std::string wanted = lower(version);
  const auto asked = [&](const KernelTraits& row) { return asked_for(row, wanted); };
  const bool is_family = wanted == "auto" || wanted == name(KernelFamily::kGemm) || wanted == name(KernelFamily::kGemv);
  if (!is_family && std::none_of(rows.begin(), rows.end(), asked))
    throw Error(ErrorKind::kUsage,
                fmt::format("there is no kernel version '{}'; known: {}", version, known_versions(rows)));
  for (const bool preferred : {true, false})
    for (size_t i = 0; i < rows.size(); ++i)
      if (asked(rows[i]) && preferred_for(rows[i], p, d) == preferred && refusal(rows[i], p, d).empty()) return i;
  throw_refusals(rows, p, d, wanted);
}

}  // namespace awq::backend
