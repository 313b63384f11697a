#include "quant/block.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <future>

#include "core/checked.h"
#include "core/random.h"
#include "format/awq_checkpoint.h"
#include "format/packing.h"
#include "model/architectures.h"
#include "quant/candidates.h"

namespace awq::quant {
namespace {

using backend::PackedLinear;
using backend::SearchedLinear;
using model::LayerGroup;

// Everything about one group of linears while its block is at hand.
struct GroupWork {
  const LayerGroup* group = nullptr;
  size_t index = 0;
  std::vector<SearchedLinear> linears;  // those that get quantized
  std::vector<size_t> positions;        // theirs in group->linears
  int64_t tokens = 0;
  std::vector<float> x_mean;
  std::future<std::vector<Candidate>> candidates;
  std::vector<double> rtn, loss;  // per linear, summed over outputs and tokens
  Candidate chosen;
  std::string warning;
};

class BlockQuantizer {
 public:
  BlockQuantizer(backend::QuantEngine& engine, const model::ModelConfig& config, int64_t layer,
                 const QuantizeOptions& options, BlockResult used)
      : engine_(engine),
        config_(config),
        shapes_(model::block_linears(config)),
        layer_(layer),
        options_(options),
        used_(std::move(used)) {}

  BlockResult run(const std::function<void(std::string_view)>& stage) {
    stage("search");
    std::vector<GroupWork> work;
    for (size_t g = 0; g < config_.arch->groups.size(); ++g) work.push_back(begin(g));
    for (GroupWork& w : work) choose(w);
    if (options_.clip) {
      stage("clip");
      for (GroupWork& w : work) clip(w);
    }
    stage("pack");
    for (const GroupWork& w : work)  // all searches see the untouched block, then all scales are folded, as in AutoAWQ
      if (w.chosen.name != "identity") engine_.fold(w.index, w.chosen.scale);
    BlockResult result;
    for (const GroupWork& w : work)
      for (size_t i = 0; i < w.linears.size(); ++i) {
        result.linears.push_back(pack(w.linears[i]));
        result.reports.push_back(report(w, i));
      }
    add_others(result);
    return result;
  }

 private:
  const model::LinearShape& shape(std::string_view linear) const {
    const auto found = std::ranges::find(shapes_, linear, &model::LinearShape::name);
    AWQ_ASSERT(found != shapes_.end());
    return *found;
  }
  std::string full_name(std::string_view name) const { return model::block_prefix(layer_) + std::string(name); }

  std::vector<int32_t> salient_channels(std::string_view linear, const GroupWork& work) const {
    const int64_t k = shape(linear).k;
    const int64_t count = salient_count(options_, k);
    if (count == 0) return {};
    std::vector<float> score(k);
    switch (options_.salient_by) {
      case SalientBy::kActivation: score = work.x_mean; break;
      case SalientBy::kWeight: score = engine_.column_squares(linear); break;
      case SalientBy::kRandom:
        for (int64_t c = 0; c < k; ++c) score[c] = random_unit(options_.seed, full_name(linear) + ".weight", c);
    }
    return largest_channels(score, count);
  }

  // The candidates of all groups are made by other threads: a GPU that evaluates the first group's need not wait for
  // the next (6 ms a block of Llama 3 8B, of 150 for the search).
  GroupWork begin(size_t index) {
    GroupWork work;
    work.group = &config_.arch->groups[index];
    work.index = index;
    const backend::InputSummary input = engine_.input(index);
    work.tokens = input.tokens;
    work.x_mean = mean_abs(input.abs_sum, input.tokens);
    for (size_t position = 0; position < work.group->linears.size(); ++position) {
      const std::string_view linear = work.group->linears[position];
      if (linear.empty() || is_kept(options_.config, full_name(linear))) continue;
      work.linears.push_back({std::string(linear), salient_channels(linear, work)});
      work.positions.push_back(position);
    }
    work.chosen = {"identity", std::vector<float>(work.x_mean.size(), 1.f)};
    if (!work.linears.empty())
      work.candidates =
          std::async(std::launch::async,
                     [search = can_fold(*work.group) ? options_.search : Search::kNone, x_mean = work.x_mean,
                      w_mean = engine_.weight_mean(work.linears)] { return make_candidates(search, x_mean, w_mean); });
    return work;
  }

  // Under grouped-query attention v_proj has fewer outputs than o_proj has inputs.
  bool can_fold(const LayerGroup& group) const {
    if (!group.only_if_square) return true;
    const model::LinearShape &producer = shape(group.absorbs), &consumer = shape(group.linears[0]);
    return producer.n == consumer.n && producer.k == consumer.k;
  }

  // Fills rtn, loss and chosen: the candidate of least summed loss; identity when nothing finite beats it.
  void choose(GroupWork& work) {
    if (work.linears.empty()) return;
    std::vector<Candidate> candidates = work.candidates.get();
    std::vector<std::vector<float>> scales;
    for (const Candidate& c : candidates) scales.push_back(c.scale);
    const std::vector<double> losses = engine_.scale_losses(work.index, work.linears, scales);
    const bool by_module = options_.objective == Objective::kModule && work.linears.size() > 1 && scales.size() > 1;
    const std::vector<double> total =
        by_module ? engine_.module_losses(work.index, work.linears, scales) : sum_over_linears(losses, scales.size());
    size_t best = 0;
    for (size_t c = 1; c < total.size(); ++c)
      if (std::isfinite(total[c]) && (total[c] < total[best] || !std::isfinite(total[best])) &&
          never_worse(losses, work.linears.size(), scales.size(), c))
        best = c;
    if (!std::isfinite(total[best])) {
      best = 0;
      work.warning = "no candidate had a finite loss (non-finite activations?): plain rounding";
    }
    for (size_t w = 0; w < work.linears.size(); ++w) {
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

  void clip(GroupWork& work) {
    for (size_t i = 0; i < work.linears.size(); ++i)
      if ((work.group->clip_first_two || work.positions[i] >= 2) && std::isfinite(work.loss[i]))
        work.loss[i] = engine_.clip(work.index, work.linears[i], work.chosen.scale, work.loss[i]);
  }

  BlockLinear pack(const SearchedLinear& linear) {
    PackedLinear out;
    const auto used = std::ranges::find(used_.linears, linear.name, &BlockLinear::name);
    if (used != used_.linears.end()) out = {std::move(used->packed), std::move(used->salient)};
    engine_.pack(linear, out);
    if (!std::ranges::all_of(out.packed.scales, is_finite_f16))
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{}.weight: a group of weights spans more than fp16 scales can hold (65504 x {}); "
                              "keep this module in fp16 with --modules-to-not-convert",
                              full_name(linear.name), (1 << options_.config.bits) - 1));
    return {linear.name, std::move(out.packed), std::move(out.salient)};
  }

  LinearReport report(const GroupWork& work, size_t i) const {
    const double tokens = static_cast<double>(std::max<int64_t>(1, work.tokens));
    const double outputs = static_cast<double>(shape(work.linears[i].name).n) * tokens;
    LinearReport r;
    r.name = full_name(work.linears[i].name);
    r.rtn_loss = work.rtn[i] / outputs;
    r.loss = work.loss[i] / outputs;
    r.chosen = work.chosen.name;
    r.dead_channels = static_cast<int>(std::count(work.x_mean.begin(), work.x_mean.end(), 0.f));
    r.warning = work.warning;
    return r;
  }

  void add_others(BlockResult& result) {
    const std::string prefix = model::block_prefix(layer_);
    for (const model::TensorNeed& need : model::block_tensors(config_, layer_)) {
      const std::string name = need.name.substr(prefix.size()), module = name.substr(0, name.rfind('.'));
      if (std::ranges::find(result.linears, module, &BlockLinear::name) == result.linears.end())
        result.others.push_back(engine_.folded(name));
    }
  }

  backend::QuantEngine& engine_;
  const model::ModelConfig& config_;
  const std::vector<model::LinearShape> shapes_;
  const int64_t layer_;
  const QuantizeOptions& options_;
  BlockResult used_;
};

}  // namespace

bool is_kept(const QuantConfig& config, std::string_view module) {
  return std::any_of(config.modules_to_not_convert.begin(), config.modules_to_not_convert.end(),
                     [&](const std::string& s) { return !s.empty() && module.find(s) != std::string_view::npos; });
}

int64_t salient_count(const QuantizeOptions& o, int64_t k) {
  return o.keep_fp16 > 0 ? std::max<int64_t>(1, std::llround(o.keep_fp16 * static_cast<double>(k))) : 0;
}

std::vector<size_t> module_groups(const model::ModelConfig& config, const QuantizeOptions& options) {
  std::vector<size_t> groups;
  if (options.objective != Objective::kModule) return groups;
  for (size_t g = 0; g < config.arch->groups.size(); ++g)
    if (!config.arch->groups[g].linears[1].empty()) groups.push_back(g);
  return groups;
}

BlockResult block_memory(const model::ModelConfig& config, const QuantizeOptions& options) {
  BlockResult memory;
  for (const model::LinearShape& l : model::block_linears(config))
    memory.linears.push_back(
        {std::string(l.name), format::sized_linear(l.n, l.k, format::resolved_group(options.config, l.k)), {}});
  return memory;
}

BlockResult quantize_block(backend::QuantEngine& engine, const model::ModelConfig& config, int64_t layer,
                           const QuantizeOptions& options, const std::function<void(std::string_view)>& stage,
                           BlockResult used) {
  return BlockQuantizer(engine, config, layer, options, std::move(used)).run(stage);
}

}  // namespace awq::quant
