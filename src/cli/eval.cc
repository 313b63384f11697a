#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "awq/error.h"
#include "awq/model.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/input_text.h"
#include "cli/json_answer.h"
#include "cli/model_options.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

struct Request {
  std::string model, against, text, text_column = "text";
  double max_kl = 0, max_perplexity = 0;  // 0: no check
  LoadOptions load;
  EvaluateOptions options;
  ProgressStyle progress = ProgressStyle::kAuto;
};

void declare(Args& args, Request& request) {
  args.about(
      "Perplexity is exp of the mean negative log-likelihood of each token given those before it in its window; lower "
      "is "
      "better, and only figures from the same text, tokenizer and window compare. With --against, the distance of the "
      "next-token distributions from the original's as well: KL (0 = the same) ranks quantizations far more finely "
      "than perplexity does.");
  args.positional("MODEL", request.model, "folder, or org/name in the local Hugging Face cache; original or AWQ");
  args.section("what to score");
  args.text("--text", "PATH", request.text,
            ".txt, .jsonl[.gz|.zst] or a folder of those; standard input when absent or -");
  args.text("--text-column,--text_column", "KEY", request.text_column, "key of the text in .jsonl files");
  args.text("--against", "MODEL", request.against, "the original, to compare with");
  args.count("--window", "N", request.options.window, "tokens in a window; each is scored by itself", {2, 1 << 20});
  args.count("--max-windows", "N", request.options.max_windows, "windows scored at most; 0: all", {0, 1 << 30});
  args.count("--max-chars", "N", request.options.max_chars, "characters of the text used at most; 0: all");
  args.flag("--bos,!--no-bos", request.options.add_bos,
            "put the tokenizer's first token in front of each window (default --no-bos)");
  args.section("checks");
  args.fraction("--max-kl", "X", request.max_kl, "exit with 7 when the KL is above X", {0, 1e9});
  args.fraction("--max-perplexity", "X", request.max_perplexity, "exit with 7 when the perplexity is above X",
                {0, 1e12});
  add_load_options(args, request.load);
  add_progress_option(args, request.progress);
  args.example("awq eval out/demo-awq --text book.txt --against models/demo", "perplexity, KL and top-1 agreement");
  args.example("zcat book.gz | awq eval models/demo --max-windows 0", "all of a text from a pipe");
  args.example("awq eval out/awq --text book.txt --against M --max-kl 0.05 -q",
               "in a script: exit code 7 when it got too far away");
}

std::string text_of(const EvaluateReport& report) {
  Table table({"measure", ">value", ">+-", "meaning"});
  table.row({"perplexity", fmt::format("{:.4f}", report.perplexity),
             fmt::format("{:.4f}", report.perplexity * report.nll_stderr),
             fmt::format("of {} tokens in {} windows", human_count(report.scored_tokens), report.windows)});
  if (report.compared) {
    table.row({"of the original", fmt::format("{:.4f}", report.reference_perplexity), "", "the same windows"});
    table.row({"KL, mean", fmt::format("{:.5f}", report.kl), fmt::format("{:.5f}", report.kl_stderr),
               "nats a token; 0 = the same model"});
    table.row(
        {"KL, 99th percentile", fmt::format("{:.5f}", report.kl_p99), "", "one token in a hundred is further away"});
    table.row({"top-1 agreement", percent(report.top1_agreement), "", "the same most likely token"});
  }
  return table.text();
}

nlohmann::ordered_json json_of(const Args& args, const Request& request, const EvaluateReport& report) {
  nlohmann::ordered_json json = begin_json(args);
  json["model"] = request.model;
  json["window"] = request.options.window;
  json["windows"] = report.windows;
  json["scored_tokens"] = report.scored_tokens;
  json["perplexity"] = report.perplexity;
  json["nll"] = report.nll;
  json["nll_stderr"] = report.nll_stderr;
  if (report.compared) {
    json["against"] = request.against;
    json["reference_perplexity"] = report.reference_perplexity;
    json["kl"] = report.kl;
    json["kl_stderr"] = report.kl_stderr;
    json["kl_p99"] = report.kl_p99;
    json["top1_agreement"] = report.top1_agreement;
  }
  json["seconds"] = report.seconds;
  return json;
}

EvaluateReport score(const Args& args, Request& request) {
  const std::string text = input_text(request.text, request.text_column, "--text");
  catch_stop_signals();
  const Model model = Model::load(request.model, request.load);
  note_kernels(args, model, request.model);
  std::optional<Model> original;
  if (!request.against.empty()) original.emplace(Model::load(request.against, request.load));
  Progress progress(request.progress, args.common().quiet);
  const auto start = std::chrono::steady_clock::now();
  request.options.stop = &stop_signal();
  request.options.progress = [&](int done, int total) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    progress.show({"window", done, total, seconds, done > 0 ? seconds / done * (total - done) : -1, ""});
  };
  return evaluate(model, text, request.options, original ? &*original : nullptr);
}

void check(const Request& request, const EvaluateReport& report) {
  if (request.max_kl > 0 && !(report.kl <= request.max_kl)) {
    throw Error(ErrorKind::kCheckFailed, fmt::format("KL {:.5f} is above --max-kl {}", report.kl, request.max_kl));
  }
  if (request.max_perplexity > 0 && !(report.perplexity <= request.max_perplexity)) {
    throw Error(ErrorKind::kCheckFailed, fmt::format("perplexity {:.4f} is above --max-perplexity {}",
                                                     report.perplexity, request.max_perplexity));
  }
}

}  // namespace

int run_eval(Args& args) {
  Request request;
  declare(args, request);
  args.finish();
  if (request.max_kl > 0 && request.against.empty()) {
    throw Error(ErrorKind::kUsage, "--max-kl needs --against: KL is the distance from another model");
  }
  const EvaluateReport report = score(args, request);
  if (args.common().json) {
    answer_json(json_of(args, request, report));
  } else {
    answer(text_of(report));
  }
  check(request, report);
  return 0;
}

}  // namespace awq::cli
