#include "awq/quantize.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "awq/error.h"
#include "choices.h"
#include "format/registry.h"
#include "long_call.h"
#include "module.h"
#include "path_caster.h"

namespace awq::python {
namespace {

using namespace nb::literals;
namespace fs = std::filesystem;

using OnProgress = nb::typed<nb::callable, nb::object(const QuantizeProgress&)>;
using Paths = std::vector<fs::path>;
using Tokens = std::vector<std::vector<int32_t>>;

std::vector<CalibrationSource> sources_of(const std::optional<std::variant<fs::path, Paths>>& calib,
                                          const std::optional<std::vector<std::string>>& texts,
                                          const std::optional<Tokens>& tokens, const std::string& text_column) {
  std::vector<CalibrationSource> sources;
  if (calib) {
    const auto* one = std::get_if<fs::path>(&*calib);
    for (const fs::path& path : one != nullptr ? Paths{*one} : std::get<Paths>(*calib))
      sources.push_back({.path = path.string(), .text_column = text_column});
  }
  if (texts) sources.push_back({.path = "", .text_column = text_column, .documents = *texts});
  if (tokens) sources.push_back({.path = "", .text_column = text_column, .documents = {}, .tokens = *tokens});
  return sources;
}

int64_t padding_of(const std::variant<int64_t, std::string>& size) {
  if (const auto* number = std::get_if<int64_t>(&size)) return *number;
  if (std::get<std::string>(size) == "auto") return kPadAuto;
  throw Error(ErrorKind::kUsage, "pad_intermediate: give a size, or 'auto'");
}

QuantizeReport run(QuantizeOptions options, const std::optional<OnProgress>& progress) {
  LongCall call;
  options.stop = call.stop();
  if (progress) options.progress = [&](const QuantizeProgress& p) { call.tell([&progress, p] { (*progress)(p); }); };
  QuantizeReport report = call.run([&] { return quantize(options); });
  const std::string_view caution = format::layout(options.config.version).caution;
  if (!caution.empty()) report.warnings.emplace_back(caution);
  return report;
}

// The parameters are what Python's help() shows, so they are listed one by one, grouped as `awq quantize --help` does.
QuantizeReport quantize_model(const fs::path& model, const fs::path& out, int bits, int group_size, bool zero_point,
                              const std::string& version, const std::vector<std::string>& modules_to_not_convert,
                              double keep_fp16, const std::string& salient_by, uint64_t max_shard_bytes,
                              const std::vector<int>& serve_tp,
                              const std::variant<int64_t, std::string>& pad_intermediate,
                              const std::optional<std::variant<fs::path, Paths>>& calib,
                              const std::optional<std::vector<std::string>>& texts, const std::optional<Tokens>& tokens,
                              const std::string& text_column, int samples, int seqlen, const std::string& search,
                              const std::string& objective, bool clip, uint64_t seed, bool dry_run, bool resume,
                              bool force, const std::optional<fs::path>& work_dir, const std::string& device,
                              int threads, int batch, uint64_t gpu_memory, const std::optional<fs::path>& trace,
                              const std::optional<OnProgress>& progress) {
  QuantizeOptions o;
  o.model = model.string();
  o.out = out;
  o.config.bits = bits;
  o.config.group_size = group_size;
  o.config.zero_point = zero_point;
  o.config.version = layout_named(version);
  o.config.modules_to_not_convert = modules_to_not_convert;
  o.keep_fp16 = keep_fp16;
  o.salient_by = salient_named(salient_by);
  o.max_shard_bytes = max_shard_bytes;
  o.serve_tp = serve_tp;
  o.pad_intermediate = padding_of(pad_intermediate);
  o.calib = sources_of(calib, texts, tokens, text_column);
  o.samples = samples;
  o.seqlen = seqlen;
  o.search = search_named(search);
  o.objective = objective_named(objective);
  o.clip = clip;
  o.seed = seed;
  o.dry_run = dry_run;
  o.resume = resume;
  o.force = force;
  o.work_dir = work_dir.value_or(fs::path());
  o.device = device;
  o.threads = threads;
  o.batch = batch;
  o.gpu_memory = gpu_memory;
  o.trace = trace.value_or(fs::path());
  return run(std::move(o), progress);
}

constexpr const char* kQuantizeDoc =
    "Writes an AWQ checkpoint of a Hugging Face model: what `awq quantize` does, with the same bytes.\n\n"
    "`model` is a folder, or org/name in the local Hugging Face cache; `out` the folder to create. Calibration text "
    "comes from `calib` (one path or several: .txt, .jsonl[.gz|.zst], folders), `texts` (a list of strings) and "
    "`tokens` (a list of token id lists); several sources are mixed evenly, and without any there is a built-in "
    "sample. `version` is the layout on disk: 'gemm', 'compressed-tensors', both of which vLLM, SGLang and "
    "transformers "
    "read, 'gemv', 'gemv_fast' or 'modelopt'; the report warns of who misreads one. `search` is 'both', 'duo', 'paper' "
    "or 'none' (plain rounding); `objective` 'gram' or 'module'. `keep_fp16=0.01` keeps the most "
    "active 1 % of each linear's input channels exact. `device` is 'auto' (the first GPU that can be used, else the "
    "CPU), 'cpu', 'cuda' or 'cuda:1'; `gpu_memory` the bytes of a GPU that may be taken, 0 for what is free; `trace` a "
    "file for chrome://tracing. `serve_tp=[1, 2, 4]` refuses what vLLM "
    "and SGLang could not cut across so many GPUs, and `pad_intermediate='auto'` pads the MLP so that they can. "
    "`progress` is called with a QuantizeProgress on the calling thread; an exception in it, like Ctrl-C, stops the "
    "run, which `resume=True` continues to the same bytes.";

void bind_reports(nb::module_& m) {
  nb::class_<QuantizeProgress>(m, "QuantizeProgress", "Where a quantization is.")
      .def_ro("stage", &QuantizeProgress::stage, "'calibrate', 'search', 'pack', ...")
      .def_ro("block", &QuantizeProgress::block)
      .def_ro("blocks", &QuantizeProgress::blocks)
      .def_ro("seconds", &QuantizeProgress::seconds)
      .def_ro("eta_seconds", &QuantizeProgress::eta_seconds, "-1: not known yet")
      .def_ro("note", &QuantizeProgress::note, "one line worth printing, or empty");
  nb::class_<LinearReport>(m, "LinearReport", "What was done to one linear.")
      .def_ro("name", &LinearReport::name)
      .def_ro("rtn_loss", &LinearReport::rtn_loss, "mean squared output error of plain rounding")
      .def_ro("loss", &LinearReport::loss, "the same as written; never above rtn_loss")
      .def_ro("chosen", &LinearReport::chosen, "'identity', 'paper 0.45', 'duo 0.80'")
      .def_ro("dead_channels", &LinearReport::dead_channels, "input channels that no calibration token excites")
      .def_ro("warning", &LinearReport::warning);
  nb::class_<StageSeconds>(m, "StageSeconds", "Seconds of one stage; tracks run side by side, their stages in turn.")
      .def_ro("track", &StageSeconds::track, "'read', 'compute', 'write', 'outer'; 'calibrate' within 'compute'")
      .def_ro("stage", &StageSeconds::stage, "'calibrate', 'search', 'wait for reading', ...")
      .def_ro("seconds", &StageSeconds::seconds);
  nb::class_<QuantizeReport>(m, "QuantizeReport", "What a quantization did, or with `dry_run` would do.")
      .def_ro("out", &QuantizeReport::out)
      .def_ro("tokens", &QuantizeReport::tokens, "calibration tokens used")
      .def_ro("data_hash", &QuantizeReport::data_hash, "of the token stream, hex")
      .def_ro("bytes_in", &QuantizeReport::bytes_in)
      .def_ro("bytes_out", &QuantizeReport::bytes_out)
      .def_ro("bits_per_weight", &QuantizeReport::bits_per_weight, "of the quantized linears")
      .def_ro("seconds", &QuantizeReport::seconds, "with dry_run: estimated")
      .def_ro("device", &QuantizeReport::device, "what computed: 'cuda:0 (NVIDIA H200)'")
      .def_ro("stages", &QuantizeReport::stages, "where the time went, a StageSeconds each")
      .def_ro("peak_rss_bytes", &QuantizeReport::peak_rss_bytes)
      .def_ro("linears", &QuantizeReport::linears)
      .def_ro("warnings", &QuantizeReport::warnings)
      .def_ro("planned_memory_bytes", &QuantizeReport::planned_memory_bytes)
      .def_ro("planned_device_bytes", &QuantizeReport::planned_device_bytes, "of the GPU; 0 on the CPU")
      .def_ro("streams_linears", &QuantizeReport::streams_linears, "the GPU holds one linear at a time, not a block")
      .def_ro("planned_disk_bytes", &QuantizeReport::planned_disk_bytes)
      .def_ro("kept_fp16", &QuantizeReport::kept_fp16, "modules that are not quantized")
      .def("__repr__", [](const QuantizeReport& r) {
        return fmt::format("<awq_cpp.QuantizeReport {}: {:.3f} bits a weight, {} bytes, {:.1f} s>", r.out.string(),
                           r.bits_per_weight, r.bytes_out, r.seconds);
      });
}

}  // namespace

void bind_quantize(nb::module_& m) {
  bind_reports(m);
  m.def("quantize", &quantize_model, "model"_a, "out"_a, nb::kw_only(), "bits"_a = 4, "group_size"_a = 128,
        "zero_point"_a = true, "version"_a = "gemm", "modules_to_not_convert"_a = std::vector<std::string>(),
        "keep_fp16"_a = 0.0, "salient_by"_a = "activation", "max_shard_bytes"_a = uint64_t{5'000'000'000},
        "serve_tp"_a = std::vector<int>(), "pad_intermediate"_a = 0, "calib"_a = nb::none(), "texts"_a = nb::none(),
        "tokens"_a = nb::none(), "text_column"_a = "text", "samples"_a = 128, "seqlen"_a = 512, "search"_a = "both",
        "objective"_a = "gram", "clip"_a = true, "seed"_a = 42, "dry_run"_a = false, "resume"_a = false,
        "force"_a = false, "work_dir"_a = nb::none(), "device"_a = "auto", "threads"_a = 0, "batch"_a = 0,
        "gpu_memory"_a = uint64_t{0}, "trace"_a = nb::none(), "progress"_a = nb::none(), kQuantizeDoc);
}

}  // namespace awq::python
