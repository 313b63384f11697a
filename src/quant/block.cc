#include "quant/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/checked.h"
#include "core/random.h"
#include "model/architectures.h"
#include "quant/candidates.h"
#include "quant/fold.h"

namespace awq::quant {
namespace {

using backend::FloatBlock;
using backend::FloatTensor;
using backend::InputStats;
using model::LayerGroup;

MatrixView<const float> view(const FloatTensor& t) { return {t.data.data(), t.shape[0], t.shape[1]}; }

format::Grid grid_for(const QuantConfig& config, int64_t k) {
  return {config.bits, config.group_size == -1 ? k : config.group_size, config.zero_point};
}

// Everything about one group of linears while its block is at hand.
struct GroupWork {
  const LayerGroup* group = nullptr;
  size_t index = 0;
  std::vector<std::string> names;  // of the linears that get quantized
  std::vector<size_t> positions;   // theirs in group->linears
  std::vector<float> x_mean;
  std::vector<std::vector<int32_t>> corrected;  // per linear: channels that keep fp16
  std::vector<double> rtn, loss;                // per linear, summed over outputs and tokens
  std::vector<std::vector<float>> limits;       // per linear: clamp (n, k / group) of the scaled weight, empty = none
  Candidate chosen;
  std::string warning;
};

class BlockQuantizer {
 public:
  BlockQuantizer(backend::QuantEngine& engine, const model::ModelConfig& config, FloatBlock block,
                 const std::vector<InputStats>& stats, const std::vector<std::vector<float>>& inputs,
                 const QuantizeOptions& options)
      : engine_(engine), config_(config), block_(std::move(block)), stats_(stats), inputs_(inputs), options_(options) {}

  BlockResult run(const std::function<void(std::string_view)>& stage) {
    stage("search");
    std::vector<GroupWork> work;
    for (size_t g = 0; g < config_.arch->groups.size(); ++g) work.push_back(search(g));
    if (options_.clip) {
      stage("clip");
      for (GroupWork& w : work) clip(w);
    }
    stage("pack");
    for (const GroupWork& w : work)  // all searches see the untouched block, then all scales are folded, as in AutoAWQ
      if (w.chosen.name != "identity") fold(w, work);
    BlockResult result;
    for (const GroupWork& w : work) finish(w, result);
    for (FloatTensor& t : block_.tensors)
      if (std::none_of(result.linears.begin(), result.linears.end(), [&](const BlockLinear& l) {
            return t.name == l.name + ".weight" || t.name == l.name + ".bias";
          }))
        result.others.push_back(std::move(t));
    return result;
  }

 private:
  const FloatTensor& weight(const std::string& linear) const {
    const FloatTensor* t = block_.find(linear + ".weight");
    AWQ_ASSERT(t != nullptr);
    return *t;
  }
  std::string full_name(std::string_view linear) const {
    return model::block_prefix(block_.layer) + std::string(linear);
  }

  std::vector<int32_t> salient_channels(const FloatTensor& w, const GroupWork& work) const {
    const int64_t k = w.shape[1];
    const int64_t count = options_.keep_fp16 > 0 ? std::max<int64_t>(1, std::llround(options_.keep_fp16 * k)) : 0;
    if (count == 0) return {};
    std::vector<float> score(k);
    switch (options_.salient_by) {
      case SalientBy::kActivation: score = work.x_mean; break;
      case SalientBy::kWeight:
        for (int64_t r = 0; r < w.shape[0]; ++r)
          for (int64_t c = 0; c < k; ++c) score[c] += w.data[r * k + c] * w.data[r * k + c];
        break;
      case SalientBy::kRandom:
        for (int64_t c = 0; c < k; ++c) score[c] = random_unit(options_.seed, full_name(w.name), c);
    }
    return largest_channels(score, count);
  }

  GroupWork search(size_t index) {
    GroupWork work;
    work.group = &config_.arch->groups[index];
    work.index = index;
    const InputStats& stats = stats_[index];
    work.x_mean = mean_abs(stats.abs_sum, stats.tokens);
    std::vector<MatrixView<const float>> weights;
    for (size_t position = 0; position < work.group->linears.size(); ++position) {
      const std::string_view linear = work.group->linears[position];
      if (linear.empty() || is_kept(options_.config, full_name(linear))) continue;
      work.names.emplace_back(linear);
      work.positions.push_back(position);
      const FloatTensor& w = weight(work.names.back());
      weights.push_back(view(w));
      work.corrected.push_back(salient_channels(w, work));
    }
    work.chosen = {"identity", std::vector<float>(stats.k, 1.f)};
    if (weights.empty()) return work;
    Search mode = options_.search;
    if (!cannot_fold(block_, *work.group).empty()) mode = Search::kNone;
    choose(work, weights, make_candidates(mode, work.x_mean, weight_mean(weights, grid(stats.k).group)));
    return work;
  }

  format::Grid grid(int64_t k) const { return grid_for(options_.config, k); }

  // Fills rtn, loss and chosen: the candidate of least summed loss; identity when nothing finite beats it.
  void choose(GroupWork& work, const std::vector<MatrixView<const float>>& weights, std::vector<Candidate> candidates) {
    const InputStats& stats = stats_[work.index];
    std::vector<std::vector<float>> scales;
    for (const Candidate& c : candidates) scales.push_back(c.scale);
    std::vector<double> losses(weights.size() * scales.size());
    for (size_t w = 0; w < weights.size(); ++w) {  // one call a linear: each has its own corrected channels
      const auto row = engine_.scale_losses({&weights[w], 1}, stats, scales, grid(stats.k), work.corrected[w]);
      std::copy(row.begin(), row.end(), losses.begin() + w * scales.size());
    }
    const bool by_module = options_.objective == Objective::kModule && work.names.size() > 1 && scales.size() > 1;
    const std::vector<double> total =
        by_module ? module_losses(work, candidates) : sum_over_linears(losses, scales.size());
    size_t best = 0;
    for (size_t c = 1; c < total.size(); ++c)
      if (std::isfinite(total[c]) && (total[c] < total[best] || !std::isfinite(total[best])) &&
          never_worse(losses, weights.size(), scales.size(), c))
        best = c;
    if (!std::isfinite(total[best])) {
      best = 0;
      work.warning = "no candidate had a finite loss (non-finite activations?): plain rounding";
    }
    for (size_t w = 0; w < weights.size(); ++w) {
      work.rtn.push_back(losses[w * scales.size()]);
      work.loss.push_back(losses[w * scales.size() + best]);
    }
    work.chosen = std::move(candidates[best]);
  }

  static std::vector<double> sum_over_linears(const std::vector<double>& losses, size_t candidates) {
    std::vector<double> total(candidates);
    for (size_t i = 0; i < losses.size(); ++i) total[i % candidates] += losses[i];
    return total;
  }

  // The promise is per layer, not per group: a scale that helps q and k but hurts v beyond plain rounding is not taken.
  static bool never_worse(const std::vector<double>& losses, size_t linears, size_t candidates, size_t c) {
    for (size_t w = 0; w < linears; ++w)
      if (!(losses[w * candidates + c] <= losses[w * candidates])) return false;
    return true;
  }

  // AutoAWQ's objective: squared difference of the module's output, the group's linears rounded under each candidate.
  std::vector<double> module_losses(const GroupWork& work, const std::vector<Candidate>& candidates) {
    const std::vector<float>& input = inputs_[work.index];
    const int64_t k = stats_[work.index].k, tokens = std::ssize(input) / k;
    const MatrixView<const float> x(input.data(), tokens, k);
    std::vector<float> reference(input.size()), output(input.size());
    engine_.module_output(block_, work.group->scored_on, x, options_.seqlen, {reference.data(), tokens, k});
    std::vector<double> losses;
    for (const Candidate& candidate : candidates) {
      FloatBlock rounded = block_;
      for (size_t i = 0; i < work.names.size(); ++i)
        round_in_place(rounded, work.names[i], candidate.scale, work.corrected[i]);
      engine_.module_output(rounded, work.group->scored_on, x, options_.seqlen, {output.data(), tokens, k});
      double sum = 0;
      for (size_t i = 0; i < output.size(); ++i) {
        const double d = static_cast<double>(output[i]) - reference[i];
        sum += d * d;
      }
      losses.push_back(sum);
    }
    return losses;
  }

  void round_in_place(FloatBlock& block, const std::string& linear, std::span<const float> scale,
                      const std::vector<int32_t>& corrected) const {
    FloatTensor& t = *block.find(linear + ".weight");
    const std::vector<float> original = t.data;
    const int64_t n = t.shape[0], k = t.shape[1];
    scale_columns({t.data.data(), n, k}, scale);
    for (int64_t r = 0; r < n; ++r) {
      float* row = t.data.data() + r * k;
      format::round_row(row, k, grid(k), {}, row);
      for (int64_t c = 0; c < k; ++c) row[c] /= scale[c];
      for (int32_t c : corrected) row[c] = original[r * k + c];
    }
  }

  // On the weights as their consumer sees them (columns scaled, rows not yet divided by what the next group folds in),
  // so that the loss is the same quantity as in the search and the two can be compared.
  void clip(GroupWork& work) {
    work.limits.resize(work.names.size());
    if (work.names.empty()) return;
    const InputStats stats = scaled_stats(work);
    for (size_t i = 0; i < work.names.size(); ++i) {
      const bool clips = work.group->clip_first_two || work.positions[i] >= 2;
      if (!clips || !std::isfinite(work.loss[i])) continue;
      FloatTensor w = weight(work.names[i]);
      scale_columns({w.data.data(), w.shape[0], w.shape[1]}, work.chosen.scale);
      std::vector<float> limits = engine_.clip_limits(view(w), stats, grid(stats.k), work.corrected[i]);
      const double clipped = engine_.loss(view(w), stats, limits, grid(stats.k), work.corrected[i]);
      if (clipped <
          work.loss[i]) {  // each limit is the best for its own group of weights; across groups errors may add up
        work.loss[i] = clipped;
        work.limits[i] = std::move(limits);
      }
    }
  }

  // Moves the scale into the weights; limits of a producer follow its rows.
  void fold(const GroupWork& work, std::vector<GroupWork>& all) {
    const std::vector<float>& scale = work.chosen.scale;
    fold_scale(block_, *work.group, scale);
    for (GroupWork& producer : all)
      for (size_t i = 0; i < producer.limits.size(); ++i) {
        std::vector<float>& limits = producer.limits[i];
        if (producer.names[i] != work.group->absorbs || limits.empty()) continue;
        const int64_t rows = weight(producer.names[i]).shape[0], groups = std::ssize(limits) / rows;
        const int64_t first = rows - std::ssize(scale);
        for (int64_t r = 0; r < std::ssize(scale); ++r)
          for (int64_t g = 0; g < groups; ++g) limits[(first + r) * groups + g] /= scale[r];
      }
  }

  void finish(const GroupWork& work, BlockResult& result) {
    for (size_t i = 0; i < work.names.size(); ++i) {
      result.linears.push_back(pack(work, i, i < work.limits.size() ? work.limits[i] : std::vector<float>{}));
      result.reports.push_back(report(work, i));
    }
  }

  // Statistics of x / s: H' = diag(1/s) H diag(1/s).
  InputStats scaled_stats(const GroupWork& work) const {
    InputStats s = stats_[work.index];
    if (work.chosen.name == "identity") return s;
    const std::vector<float>& scale = work.chosen.scale;
    for (int64_t i = 0; i < s.k; ++i) {
      s.abs_sum[i] /= scale[i];
      for (int64_t j = 0; j < s.k; ++j) s.gram[i * s.k + j] /= scale[i] * scale[j];
    }
    return s;
  }

  BlockLinear pack(const GroupWork& work, size_t i, const std::vector<float>& limits) {
    const FloatTensor& w = weight(work.names[i]);
    BlockLinear out{work.names[i], engine_.quantize(view(w), limits, grid(w.shape[1])), {}};
    for (f16_t s : out.packed.scales)
      if (!std::isfinite(f16_to_f32(s)))
        throw Error(ErrorKind::kBadInput,
                    fmt::format("{}: a group of weights spans more than fp16 scales can hold (65504 x {}); "
                                "keep this module in fp16 with --modules-to-not-convert",
                                full_name(w.name), grid(1).max_code()));
    if (const FloatTensor* bias = block_.find(work.names[i] + ".bias"))
      for (float b : bias->data) out.packed.bias.push_back(f32_to_f16(b));
    out.salient.index = work.corrected[i];
    for (int32_t c : out.salient.index)
      for (int64_t r = 0; r < out.packed.n; ++r)
        out.salient.delta.push_back(f32_to_f16(w.data[r * out.packed.k + c] - out.packed.dequantized(r, c)));
    return out;
  }

  LinearReport report(const GroupWork& work, size_t i) const {
    const double tokens = static_cast<double>(std::max<int64_t>(1, stats_[work.index].tokens));
    const double outputs = static_cast<double>(weight(work.names[i]).shape[0]) * tokens;
    LinearReport r;
    r.name = full_name(work.names[i]);
    r.rtn_loss = work.rtn[i] / outputs;
    r.loss = work.loss[i] / outputs;
    r.chosen = work.chosen.name;
    r.dead_channels = static_cast<int>(std::count(work.x_mean.begin(), work.x_mean.end(), 0.f));
    r.warning = work.warning;
    return r;
  }

  backend::QuantEngine& engine_;
  const model::ModelConfig& config_;
  FloatBlock block_;
  const std::vector<InputStats>& stats_;
  const std::vector<std::vector<float>>& inputs_;
  const QuantizeOptions& options_;
};

}  // namespace

bool is_kept(const QuantConfig& config, std::string_view module) {
  return std::any_of(config.modules_to_not_convert.begin(), config.modules_to_not_convert.end(),
                     [&](const std::string& s) { return !s.empty() && module.find(s) != std::string_view::npos; });
}

BlockResult quantize_block(backend::QuantEngine& engine, const model::ModelConfig& config, FloatBlock block,
                           const std::vector<InputStats>& stats, const std::vector<std::vector<float>>& inputs,
                           const QuantizeOptions& options, const std::function<void(std::string_view)>& stage) {
  return BlockQuantizer(engine, config, std::move(block), stats, inputs, options).run(stage);
}

}  // namespace awq::quant
