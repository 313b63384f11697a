#include <fmt/format.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <numeric>

#include "awq/error.h"
#include "awq/model.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/input_text.h"
#include "cli/json_answer.h"
#include "cli/model_options.h"
#include "cli/signals.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

struct Request {
  std::string model, prompt;
  bool greedy = false, ignore_eos = false;
  LoadOptions load;
  SamplingOptions sampling;
};

void declare(Args& args, Request& request) {
  SamplingOptions& sampling = request.sampling;
  args.about(
      "Continues the prompt with the most likely token each time, or with a drawn one when --temperature is above 0. "
      "The "
      "text goes to standard output as it is made; timings go to standard error.");
  args.positional("MODEL", request.model, "folder, or org/name in the local Hugging Face cache; original or AWQ");
  args.section("what to write");
  args.text("-p,--prompt", "TEXT", request.prompt, "text to continue; standard input when absent");
  args.count("-n,--max-new-tokens,--max_new_tokens", "N", sampling.max_new_tokens, "tokens to add at most",
             {1, 1 << 24});
  args.real("--temperature", "T", sampling.temperature, "0: always the most likely token; 1: as the model has it",
            {0, 100});
  args.count("--top-k,--top_k", "K", sampling.top_k, "draw from the K most likely tokens; 0: from all", {0, 1 << 24});
  args.real("--top-p,--top_p", "P", sampling.top_p, "draw from the most likely tokens that hold P of the probability",
            {0, 1});
  args.count("--seed", "N", sampling.seed, "same seed, same text");
  args.flag("--greedy", request.greedy, "the same as --temperature 0");
  args.flag("--ignore-eos", request.ignore_eos, "go on after the model's end-of-text token");
  add_load_options(args, request.load);
  args.example("awq generate out/demo-awq --prompt \"The \"", "the most likely continuation");
  args.example("awq generate out/demo-awq -p \"The \" --temperature 0.8 --top-p 0.95 --seed 7", "a drawn one");
  args.example("echo \"Once upon\" | awq generate out/demo-awq -n 40 -q",
               "the prompt from a pipe, text and nothing else");
}

double mean_token_seconds(const GenerateTiming& timing) {
  const auto& each = timing.token_seconds;
  return each.empty() ? 0 : std::accumulate(each.begin(), each.end(), 0.0) / static_cast<double>(each.size());
}

void note_timing(const GenerateTiming& timing) {
  const double each = mean_token_seconds(timing);
  std::string line = fmt::format("prompt: {} tokens, first token after {:.1f} ms", timing.prompt_tokens,
                                 timing.first_token_seconds * 1e3);
  if (each > 0) line += fmt::format("; then {:.2f} ms a token, {:.1f} tokens/s", each * 1e3, 1 / each);
  note(line);
}

nlohmann::ordered_json json_of(const Args& args, const Request& request, const Model& model, const std::string& text,
                               const std::vector<int32_t>& ids, const GenerateTiming& timing) {
  nlohmann::ordered_json json = begin_json(args);
  json["model"] = request.model;
  json["prompt"] = request.prompt;
  json["text"] = text;
  json["token_ids"] = ids;
  json["seed"] = request.sampling.seed;
  json["kernels"] = model.kernels();
  json["prompt_tokens"] = timing.prompt_tokens;
  json["new_tokens"] = timing.new_tokens;
  json["first_token_seconds"] = timing.first_token_seconds;
  json["token_seconds"] = timing.token_seconds;
  return json;
}

}  // namespace

int run_generate(Args& args) {
  Request request;
  declare(args, request);
  args.finish();
  if (request.prompt.empty()) request.prompt = input_text("", "", "--prompt");
  if (request.greedy) request.sampling.temperature = 0;
  request.sampling.stop_at_eos = !request.ignore_eos;

  catch_stop_signals();
  const Model model = Model::load(request.model, request.load);
  note_kernels(args, model, request.model);
  const std::vector<int32_t> prompt = model.encode(request.prompt);
  const bool json = args.common().json;
  std::string text;
  GenerateTiming timing;
  std::atomic<int> stop{0};
  const auto on_text = [&](std::string_view piece) {
    text += piece;
    if (!json) answer(piece);
    if (stop_signal() != 0 || reader_is_gone()) stop = 1;
  };
  const std::vector<int32_t> ids = model.generate(prompt, request.sampling, on_text, &timing, &stop);
  if (json) {
    answer_json(json_of(args, request, model, text, ids, timing));
  } else {
    answer("\n");
  }
  note_timing(timing);
  return stop_signal() != 0 ? exit_code_of_signal() : 0;
}

}  // namespace awq::cli
