// Declares and prints; quantize() is the call that every front end makes.
#include "awq/quantize.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/layout_choice.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "cli/quantize_report.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "format/registry.h"

namespace awq::cli {
namespace {

constexpr std::array kSearches = {Choice<Search>{"both", Search::kBoth}, Choice<Search>{"duo", Search::kDuo},
                                  Choice<Search>{"paper", Search::kPaper}, Choice<Search>{"none", Search::kNone}};
constexpr std::array kObjectives = {Choice<Objective>{"gram", Objective::kGram},
                                    Choice<Objective>{"module", Objective::kModule}};
constexpr std::array kSalient = {Choice<SalientBy>{"activation", SalientBy::kActivation},
                                 Choice<SalientBy>{"weight", SalientBy::kWeight},
                                 Choice<SalientBy>{"random", SalientBy::kRandom}};

struct Request {
  QuantizeOptions options;
  std::string out, work_dir, trace, text_column = "text";
  std::vector<std::string> calib;
  std::string serve_tp, pad_intermediate;
  bool symmetric = false;
  ProgressStyle progress = ProgressStyle::kAuto;
};

void declare_format(Args& args, Request& request) {
  QuantConfig& config = request.options.config;
  args.section("what to write");
  args.count("--bits,--w_bit", "N", config.bits, "bits per weight; 4 is what loaders read");
  args.count("--group-size,--group,--q_group_size", "N", config.group_size,
             "input features that share a scale and a zero point: 32, 64, 128, or -1 for a whole row; smaller is more "
             "accurate and larger on disk",
             {-1, 1 << 20});
  args.flag("--sym,!--zero_point,--no-zero_point", request.symmetric,
            "symmetric: no zero points (stored as 8, so that every loader reads it)");
  args.choice(
      "--version,--layout,--format", config.version, layout_choices(),
      "layout of the packed weights: gemm is what vLLM, SGLang and transformers read as AWQ; compressed-tensors is "
      "vLLM's own, modelopt TensorRT-LLM's");
  args.fraction("--keep-fp16", "SHARE", request.options.keep_fp16,
                "keep this share of each linear's input channels in fp16, in a side file other loaders do not see: "
                "0.1% to 3%, as 1% or 0.01");
  args.choice("--salient-by", request.options.salient_by, std::span<const Choice<SalientBy>>(kSalient),
              "how --keep-fp16 ranks channels; weight and random exist for comparison");
  args.texts("--modules-to-not-convert,--modules_to_not_convert", "NAME", config.modules_to_not_convert,
             "leave modules whose name contains NAME in fp16; may be repeated");
  args.text("--serve-tp", "N,...", request.serve_tp,
            "refuse what vLLM and SGLang could not serve with tensor parallelism on so many GPUs, before any work");
  args.text("--pad-intermediate", "auto|N", request.pad_intermediate,
            "zero-pad the MLP to this intermediate size; auto: the least that serves on the GPUs of --serve-tp. The "
            "model computes the same");
  args.count("--max-shard-size,--shard_size", "BYTES", request.options.max_shard_bytes,
             "size of a weights file at most", {1e6, 1e15});
}

void declare_calibration(Args& args, Request& request) {
  QuantizeOptions& options = request.options;
  args.section("calibration text");
  args.texts(
      "--calib,--calib_data", "PATH", request.calib,
      ".txt, .jsonl[.gz|.zst], a folder of those, or - for standard input; may be repeated to mix domains evenly; a "
      "built-in sample when absent");
  args.text("--text-column,--text_column", "KEY", request.text_column, "key of the text in .jsonl files");
  args.count("--samples,--max_calib_samples", "N", options.samples, "windows of calibration text", {1, 1 << 20});
  args.count("--seqlen,--max_calib_seq_len", "N", options.seqlen, "tokens in a window", {8, 1 << 20});
}

void declare_search(Args& args, Request& request) {
  QuantizeOptions& options = request.options;
  args.section("search");
  args.choice("--search", options.search, std::span<const Choice<Search>>(kSearches),
              "candidate scales: the paper's grid, AutoAWQ's (duo), both, or none: plain rounding");
  args.choice(
      "--objective", options.objective, std::span<const Choice<Objective>>(kObjectives),
      "what a candidate is scored on: each linear's output (gram), or the output of the attention or MLP block as "
      "AutoAWQ does (module)");
  args.flag("--no-clip,!--clip,!--apply_clip", options.clip, "do not search for clipping ranges", false);
  args.count("--seed", "N", options.seed, "orders the mixed sources; picks channels for --salient-by random");
}

void declare_job(Args& args, Request& request) {
  QuantizeOptions& options = request.options;
  args.section("the job");
  args.flag("--dry-run", options.dry_run, "only tell memory, disk and what stays fp16; nothing is computed or written");
  args.text("--device", "DEVICE", options.device,
            "auto, cpu, cuda or cuda:1; auto: the first GPU that can be used, else the CPU");
  args.count("--batch", "N", options.batch,
             "windows of text in flight on a GPU, 0: its own choice; the output does not depend on it", {0, 1 << 20});
  args.count(
      "--gpu-memory", "BYTES", request.options.gpu_memory,
      "take no more of the GPU's memory, 0: what is free; with too little for a block its weights come linear by "
      "linear. The output does not depend on it",
      {0, 1e15});
  args.flag("--resume", options.resume, "continue a stopped run from its work folder; ends with the same bytes");
  args.flag("--force", options.force, "replace an existing output, after the new one is complete");
  args.text("--work-dir", "DIR", request.work_dir, "folder for finished blocks; beside the output when absent");
  args.text("--trace", "FILE", request.trace, "write what happened when, for chrome://tracing or ui.perfetto.dev");
  args.count("--threads", "N", options.threads, "0: one for each core; the output does not depend on it", {0, 4096});
  add_progress_option(args, request.progress);
}

void declare(Args& args, Request& request) {
  args.about(
      "Loads one block of the model at a time, measures its activations on calibration text, searches the scales and "
      "clipping ranges that change its output least, packs it, and writes a checkpoint that every AWQ loader reads. A "
      "linear is never left worse than plain rounding. The output appears under its name only when it is complete.");
  args.positional("MODEL,--model_path,--hf_model_path", request.options.model,
                  "folder with config.json and *.safetensors, or org/name in the local Hugging Face cache");
  args.positional("OUT,--quant_path,--local_save_path", request.out, "folder to create");
  declare_format(args, request);
  declare_calibration(args, request);
  declare_search(args, request);
  declare_job(args, request);
  args.example("awq quantize models/demo out/demo-awq", "everything at its default");
  args.example("awq quantize my-coder out/awq --calib code.jsonl.zst --calib prose.txt",
               "calibrate on what the model will see");
  args.example("awq quantize M OUT --w_bit 4 --q_group_size 128 --zero_point --version GEMM",
               "AutoAWQ's spellings work");
  args.example("awq quantize M OUT --keep-fp16 1%", "the most active 1 % of channels stay exact");
  args.example("awq quantize M OUT --serve-tp 1,2,4,8 --pad-intermediate auto",
               "for vLLM on any of these numbers of GPUs");
  args.example("awq quantize M OUT --resume", "go on after Ctrl-C, a full disk or a crash");
}

int64_t parse_width(const std::string& text) {
  if (const int64_t width = parse_count(text); width > 0) return width;
  throw Error(ErrorKind::kUsage, fmt::format("--pad-intermediate {}: choose auto, or the width to pad to", text));
}

void fill_in(Request& request) {
  QuantizeOptions& options = request.options;
  options.config.zero_point = !request.symmetric;
  options.serve_tp = parse_counts(request.serve_tp);
  if (!request.pad_intermediate.empty())
    options.pad_intermediate = request.pad_intermediate == "auto" ? kPadAuto : parse_width(request.pad_intermediate);
  options.out = request.out;
  options.work_dir = request.work_dir;
  options.trace = request.trace;
  for (const std::string& path : request.calib) options.calib.push_back({path, request.text_column});
}

void note_layout(const QuantConfig& config) {
  if (const std::string_view caution = format::layout(config.version).caution; !caution.empty()) warn(caution);
}

}  // namespace

int run_quantize(Args& args) {
  Request request;
  declare(args, request);
  args.finish();
  fill_in(request);
  note_layout(request.options.config);

  catch_stop_signals();
  QuantizeOptions& options = request.options;
  options.stop = &stop_signal();
  QuantizeReport report;
  try {
    Progress progress(request.progress, args.common().quiet);
    options.progress = [&](const QuantizeProgress& p) {
      progress.show({p.stage, p.block, p.blocks, p.seconds, p.eta_seconds, p.note});
    };
    report = quantize(options);
  } catch (Error& error) {
    if (error.kind() == ErrorKind::kInterrupted) {
      note(fmt::format("to continue: {}{}", args.command_line(), options.resume ? "" : " --resume"));
    }
    throw;
  }
  if (args.common().json) {
    answer_json_report(args, options, report);
  } else if (args.common().quiet && !options.dry_run) {
    answer(report.out.string() + "\n");
  } else {
    answer(options.dry_run ? plan_text(options, report) : report_text(options, report));
  }
  return 0;
}

}  // namespace awq::cli
