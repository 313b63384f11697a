#include "bench/model_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

namespace awq::bench {
namespace {

std::string ms(double seconds) { return fmt::format("{:.3f}", seconds * 1e3); }
std::string share(double value) { return value > 0 ? fmt::format("{:.1f}%", 100 * value) : "-"; }

// The version with the least of `cost` at a batch, "auto" left out: it is a choice between the others.
template <class Cost>
std::string best(const ModelBenchReport& report, int64_t batch, Cost cost) {
  std::string name;
  double least = 0;
  for (const ModelTiming& t : report.timings) {
    if (t.version == "auto" || t.batch != batch) continue;
    if (!name.empty() && cost(t) >= least) continue;
    name = t.version;
    least = cost(t);
  }
  return name;
}

std::string recommendation(const ModelBenchReport& report) {
  std::set<int64_t> batches;
  for (const ModelTiming& t : report.timings) batches.insert(t.batch);
  std::string out;
  for (const int64_t batch : batches) {
    const std::string prompt = best(report, batch, [](const ModelTiming& t) { return t.median_first_token(); });
    const std::string token = best(report, batch, [](const ModelTiming& t) { return t.percentile(0.5); });
    if (prompt.empty()) continue;
    out += fmt::format("{} sequence{}: fastest for the prompt: {}; for each further token: {}\n", batch,
                       batch == 1 ? "" : "s", prompt, token);
  }
  return out.empty() ? out : out + "auto chooses for each linear and each number of tokens\n";
}

std::string head(const ModelBenchReport& r) {
  std::string out = fmt::format("{} on {}: {} prompt tokens, {} new tokens, {} runs\n", r.model, r.device, r.prompt,
                                r.generate, r.repeat);
  if (r.read_bytes_per_s > 0) out += fmt::format("measured read bandwidth {:.0f} GB/s", r.read_bytes_per_s * 1e-9);
  if (r.dense_flop_per_s > 0) out += fmt::format(", fp16 product {:.0f} TFLOP/s", r.dense_flop_per_s * 1e-12);
  return r.read_bytes_per_s > 0 ? out + "\n" : out;
}

std::string stages_text(const ModelTiming& t) {
  if (t.stages.empty()) return {};
  std::string out = fmt::format("\n--version {}, {} sequences: each stage alone\n{:<16}{:>8}{:>10}{:>12}{:>10}{:>9}\n",
                                t.version, t.batch, "stage", "calls", "us each", "us a step", "MB each", "GB/s");
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

}  // namespace

std::string table_text(const ModelBenchReport& r) {
  std::string out =
      head(r) + fmt::format("{:<8}{:>6}{:>14}{:>12}{:>10}{:>10}{:>10}{:>12}{:>10}{:>10}\n", "version", "batch",
                            "first token", "prompt t/s", "ms p50", "p95", "p99", "tokens/s", "roofline", "memory");
  for (const ModelTiming& t : r.timings) {
    const double first = t.median_first_token();
    out += fmt::format("{:<8}{:>6}{:>11} ms{:>12.0f}{:>10}{:>10}{:>10}{:>12.1f}{:>10}{:>10}\n", t.version, t.batch,
                       ms(first), first > 0 ? r.prompt * static_cast<double>(t.batch) / first : 0, ms(t.percentile(.5)),
                       ms(t.percentile(.95)), ms(t.percentile(.99)), t.tokens_per_s(), share(r.share_of_floor(t)),
                       t.memory_bytes > 0 ? fmt::format("{:.1f} GB", static_cast<double>(t.memory_bytes) * 1e-9) : "-");
  }
  for (const std::string& refusal : r.refusals) out += refusal + "\n";
  out += recommendation(r);
  for (const ModelTiming& t : r.timings) out += stages_text(t);
  return out;
}

std::string csv_text(const ModelBenchReport& r) {
  std::string out =
      "model,version,batch,prompt,generate,first_token_ms,step_p50_ms,step_p95_ms,step_p99_ms,tokens_per_s,step_bytes,"
      "share_of_roofline,prompt_TFLOP/s,memory_bytes,read_GB/s,device,commit,date\n";
  for (const ModelTiming& t : r.timings)
    out += fmt::format("{},{},{},{},{},{},{},{},{},{:.2f},{},{:.4f},{:.1f},{},{:.0f},{},{},{}\n", r.model, t.version,
                       t.batch, r.prompt, r.generate, ms(t.median_first_token()), ms(t.percentile(.5)),
                       ms(t.percentile(.95)), ms(t.percentile(.99)), t.tokens_per_s(), t.step_bytes,
                       r.share_of_floor(t), r.prompt_flop_per_s(t) * 1e-12, t.memory_bytes, r.read_bytes_per_s * 1e-9,
                       r.device, r.commit, r.date);
  return out;
}

nlohmann::ordered_json as_json(const ModelBenchReport& r) {
  nlohmann::ordered_json json = {{"model", r.model},
                                 {"device", r.device},
                                 {"commit", r.commit},
                                 {"date", r.date},
                                 {"prompt_tokens", r.prompt},
                                 {"new_tokens", r.generate},
                                 {"read_bytes_per_second", r.read_bytes_per_s},
                                 {"dense_flop_per_second", r.dense_flop_per_s},
                                 {"versions", nlohmann::ordered_json::array()},
                                 {"refusals", r.refusals}};
  for (const ModelTiming& t : r.timings) {
    nlohmann::ordered_json stages = nlohmann::ordered_json::array();
    for (const backend::StageTime& s : t.stages)
      stages.push_back({{"stage", s.name}, {"us", s.us}, {"calls", s.calls}, {"bytes", s.bytes}});
    json["versions"].push_back({{"version", t.version},
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
                                {"memory_bytes", t.memory_bytes},
                                {"stages", stages}});
  }
  return json;
}

}  // namespace awq::bench
