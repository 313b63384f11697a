#include "bench/model_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bench/auto_choice.h"

namespace awq::bench {
namespace {

std::string ms(double seconds) { return fmt::format("{:.3f}", seconds * 1e3); }
std::string share(double value) { return value > 0 ? fmt::format("{:.1f}%", 100 * value) : "-"; }

std::string per_cent(double excess) { return fmt::format("{:+.1f}%", 100 * excess); }

// Which version to force for a prompt and for a token, and what leaving it to auto costs.
std::string choices_text(const ModelBenchReport& report) {
  const std::vector<AutoChoice> choices = auto_choices(report);
  if (choices.empty()) return {};
  const bool has_auto = choices.front().has_auto();
  std::string out = fmt::format("\nbest when forced{}\n{:>6}{:>6}  {:<24}{}  {:<24}{}\n",
                                has_auto ? ", and how much longer auto takes" : "", "prompt", "batch", "first token",
                                has_auto ? "    auto" : "", "token", has_auto ? "    auto" : "");
  for (const AutoChoice& c : choices) {
    out += fmt::format("{:>6}{:>6}", c.prompt, c.batch);
    for (const BestForced* best : {&c.first_token, &c.token}) {
      out += fmt::format("  {:<24}", fmt::format("{} ms  {}", ms(best->seconds), best->version));
      if (has_auto) out += fmt::format("{:>8}", per_cent(best->excess()));
    }
    if (has_auto) out += fmt::format("   {} {:.0f}%", c.within() ? "within" : "more than", 100 * kAutoTolerance);
    out += "\n";
  }
  return out + "auto chooses for each linear and each number of tokens\n";
}

std::string head(const ModelBenchReport& r) {
  std::string out = fmt::format("{} on {}: {} new tokens, {} runs\n", r.model, r.device, r.generate, r.repeat);
  if (r.read_bytes_per_s <= 0) return out;
  out += fmt::format("measured read bandwidth {:.0f} GB/s", r.read_bytes_per_s * 1e-9);
  for (const auto& [tokens, rate] : r.dense_flop_per_s)
    out += fmt::format(", fp16 product of {} tokens {:.0f} TFLOP/s", tokens, rate * 1e-12);
  return out + "\n";
}

std::string stages_text(const ModelTiming& t) {
  if (t.stages.empty()) return {};
  std::string out = fmt::format(
      "\n--version {}, {} prompt tokens, {} sequences: each stage alone\n"
      "{:<16}{:>8}{:>10}{:>12}{:>10}{:>9}\n",
      t.version, t.prompt, t.batch, "stage", "calls", "us each", "us a step", "MB each", "GB/s");
  double sum = 0, whole = 0;
  for (const backend::StageTime& s : t.stages) {
    if (s.calls == 0) {
      whole = s.us;
      continue;
    }
    const double all = s.us * static_cast<double>(s.calls);
    sum += all;
    out += fmt::format("{:<16}{:>8}{:>10.2f}{:>12.1f}{:>10.2f}{:>9.0f}\n", s.name, s.calls, s.us, all,
                       static_cast<double>(s.bytes) * 1e-6, s.us > 0 ? static_cast<double>(s.bytes) / s.us * 1e-3 : 0);
  }
  out += fmt::format("{:<16}{:>8}{:>10}{:>12.1f}\n", "sum", "", "", sum);
  if (whole > 0) out += fmt::format("{:<16}{:>8}{:>10}{:>12.1f}   on the device\n", "whole step", "", "", whole);
  return out +
         fmt::format("{:<16}{:>8}{:>10}{:>12.1f}   until the token is read\n", "", "", "", t.percentile(0.5) * 1e6);
}

nlohmann::ordered_json as_json(const BestForced& best) {
  return {{"version", best.version},
          {"seconds", best.seconds},
          {"auto_seconds", best.auto_seconds},
          {"auto_excess", best.excess()}};
}

}  // namespace

std::string table_text(const ModelBenchReport& r) {
  std::string out = head(r) + fmt::format("{:<8}{:>6}{:>6}{:>14}{:>12}{:>9}{:>10}{:>10}{:>10}{:>12}{:>10}{:>10}\n",
                                          "version", "prompt", "batch", "first token", "prompt t/s", "of fp16",
                                          "ms p50", "p95", "p99", "tokens/s", "roofline", "memory");
  for (const ModelTiming& t : r.timings) {
    const double first = t.median_first_token();
    out += fmt::format("{:<8}{:>6}{:>6}{:>11} ms{:>12.0f}{:>9}{:>10}{:>10}{:>10}{:>12.1f}{:>10}{:>10}\n", t.version,
                       t.prompt, t.batch, ms(first), first > 0 ? static_cast<double>(t.prompt * t.batch) / first : 0,
                       share(r.share_of_dense(t)), ms(t.percentile(.5)), ms(t.percentile(.95)), ms(t.percentile(.99)),
                       t.tokens_per_s(), share(r.share_of_floor(t)),
                       t.memory_bytes > 0 ? fmt::format("{:.1f} GB", static_cast<double>(t.memory_bytes) * 1e-9) : "-");
  }
  for (const std::string& refusal : r.refusals) out += refusal + "\n";
  out += choices_text(r);
  for (const ModelTiming& t : r.timings) out += stages_text(t);
  return out;
}

std::string csv_text(const ModelBenchReport& r) {
  std::string out =
      "model,version,batch,prompt,generate,first_token_ms,step_p50_ms,step_p95_ms,step_p99_ms,tokens_per_s,step_bytes,"
      "share_of_roofline,prompt_TFLOP/s,prompt_share_of_fp16,memory_bytes,read_GB/s,device,commit,date\n";
  for (const ModelTiming& t : r.timings)
    out += fmt::format("{},{},{},{},{},{},{},{},{},{:.2f},{},{:.4f},{:.1f},{:.4f},{},{:.0f},{},{},{}\n", r.model,
                       t.version, t.batch, t.prompt, r.generate, ms(t.median_first_token()), ms(t.percentile(.5)),
                       ms(t.percentile(.95)), ms(t.percentile(.99)), t.tokens_per_s(), t.step_bytes,
                       r.share_of_floor(t), r.prompt_flop_per_s(t) * 1e-12, r.share_of_dense(t), t.memory_bytes,
                       r.read_bytes_per_s * 1e-9, r.device, r.commit, r.date);
  return out;
}

nlohmann::ordered_json as_json(const ModelBenchReport& r) {
  nlohmann::ordered_json json = {{"model", r.model},
                                 {"device", r.device},
                                 {"commit", r.commit},
                                 {"date", r.date},
                                 {"new_tokens", r.generate},
                                 {"read_bytes_per_second", r.read_bytes_per_s},
                                 {"versions", nlohmann::ordered_json::array()},
                                 {"refusals", r.refusals}};
  for (const ModelTiming& t : r.timings) {
    nlohmann::ordered_json stages = nlohmann::ordered_json::array();
    for (const backend::StageTime& s : t.stages)
      stages.push_back({{"stage", s.name}, {"us", s.us}, {"calls", s.calls}, {"bytes", s.bytes}});
    json["versions"].push_back({{"version", t.version},
                                {"prompt_tokens", t.prompt},
                                {"batch", t.batch},
                                {"kernels", t.kernels},
                                {"first_token_seconds", t.first_token},
                                {"token_seconds", t.step},
                                {"token_p50", t.percentile(.5)},
                                {"token_p95", t.percentile(.95)},
                                {"token_p99", t.percentile(.99)},
                                {"tokens_per_second", t.tokens_per_s()},
                                {"bytes_a_step", t.step_bytes},
                                {"share_of_roofline", r.share_of_floor(t)},
                                {"prompt_flop_per_second", r.prompt_flop_per_s(t)},
                                {"prompt_share_of_fp16", r.share_of_dense(t)},
                                {"load_seconds", t.load_seconds},
                                {"memory_bytes", t.memory_bytes},
                                {"stages", stages}});
  }
  for (const auto& [tokens, rate] : r.dense_flop_per_s)
    json["fp16_products"].push_back({{"tokens", tokens}, {"flop_per_second", rate}});
  for (const AutoChoice& c : auto_choices(r))
    json["best_forced"].push_back({{"prompt_tokens", c.prompt},
                                   {"batch", c.batch},
                                   {"first_token", as_json(c.first_token)},
                                   {"token", as_json(c.token)},
                                   {"auto_within_tolerance", c.has_auto() ? nlohmann::json(c.within()) : nullptr}});
  return json;
}

}  // namespace awq::bench
