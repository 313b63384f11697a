#include "awq/model.h"

#include <fmt/format.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/variant.h>
#include <nanobind/stl/vector.h>

#include "generation.h"
#include "long_call.h"
#include "module.h"
#include "path_caster.h"
#include "run/model_impl.h"

namespace awq::python {
namespace {

using namespace nb::literals;
namespace fs = std::filesystem;

using OnProgress = nb::typed<nb::callable, nb::object(int, int)>;
using Ids = std::vector<int32_t>;
using Prompt = std::variant<std::string, Ids>;
using Logits = nb::ndarray<nb::numpy, float, nb::ndim<2>>;  // (tokens, vocabulary)

void load(Model* self, const fs::path& model, const std::string& version, const std::string& device, int threads,
          bool ignore_salient) {
  const LoadOptions options{.version = version, .device = device, .threads = threads, .ignore_salient = ignore_salient};
  LongCall call;
  new (self) Model(call.run([&] { return Model::load(model.string(), options); }));
}

Logits logits(const Model& model, const Ids& ids) {
  LongCall call;
  auto* values = new std::vector<float>(call.run([&] { return model.logits(ids); }));
  const nb::capsule owner(values, [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  return Logits(values->data(), {ids.size(), static_cast<size_t>(model.vocab_size())}, owner);
}

std::unique_ptr<Generation> generate(const Model& model, const Prompt& prompt, int max_new_tokens, float temperature,
                                     int top_k, float top_p, uint64_t seed, bool stop_at_eos) {
  const auto* ids = std::get_if<Ids>(&prompt);
  const bool has_tokenizer = model.impl().tokenizer_.has_value();
  return std::make_unique<Generation>(model, ids != nullptr ? *ids : model.encode(std::get<std::string>(prompt)),
                                      SamplingOptions{.max_new_tokens = max_new_tokens,
                                                      .temperature = temperature,
                                                      .top_k = top_k,
                                                      .top_p = top_p,
                                                      .seed = seed,
                                                      .stop_at_eos = stop_at_eos},
                                      has_tokenizer);
}

EvaluateReport evaluate_model(const Model& model, const std::string& text, const Model* against, int window,
                              int max_windows, size_t max_chars, bool add_bos,
                              const std::optional<OnProgress>& progress) {
  LongCall call;
  EvaluateOptions options{.window = window, .max_windows = max_windows, .max_chars = max_chars, .add_bos = add_bos};
  options.stop = call.stop();
  if (progress)
    options.progress = [&](int done, int total) { call.tell([&progress, done, total] { (*progress)(done, total); }); };
  return call.run([&] { return evaluate(model, text, options, against); });
}

std::string device_of(const Model& model) {
  const DeviceInfo& device = model.impl().device->info();
  return device.kind == DeviceKind::kCpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

constexpr const char* kModelDoc =
    "A checkpoint that is ready to run: original or AWQ, in any packed layout.\n\n"
    "`model` is a folder, or org/name in the local Hugging Face cache. `version` is the kernel version of the "
    "quantized linears: 'auto', 'gemv' (one token at a time), 'gemm' (many) or a kernel's name; the weights are "
    "repacked at load, so any version runs any file. `device` is 'auto', 'cpu', 'cuda' or 'cuda:1'. May be used from "
    "several threads: calls take turns.";
constexpr const char* kGenerateDoc =
    "Continues a prompt (text, or token ids) and returns a Generation: iterate over its pieces, or take its "
    "`.text`.\n\n"
    "`temperature=0` takes the most likely token each time. Same seed, same text.";
constexpr const char* kEvaluateDoc =
    "Perplexity of a text; with `against=` the original, also the distance from it.\n\n"
    "The first `max_chars` characters are encoded, cut into windows of `window` tokens that do not overlap, and the "
    "first `max_windows` of them scored, each by itself; 0 means all. `progress` is called with (done, total).";

void bind_evaluate_report(nb::module_& m) {
  nb::class_<EvaluateReport>(m, "EvaluateReport", "How well a model predicts a text.")
      .def_ro("windows", &EvaluateReport::windows)
      .def_ro("scored_tokens", &EvaluateReport::scored_tokens)
      .def_ro("perplexity", &EvaluateReport::perplexity)
      .def_ro("nll", &EvaluateReport::nll, "nats a token")
      .def_ro("nll_stderr", &EvaluateReport::nll_stderr)
      .def_ro("compared", &EvaluateReport::compared, "whether there was a model to compare with")
      .def_ro("reference_perplexity", &EvaluateReport::reference_perplexity)
      .def_ro("kl", &EvaluateReport::kl, "mean KL(reference || model) a token, nats; 0: the same")
      .def_ro("kl_stderr", &EvaluateReport::kl_stderr)
      .def_ro("kl_p99", &EvaluateReport::kl_p99)
      .def_ro("top1_agreement", &EvaluateReport::top1_agreement, "share of positions with the same most likely token")
      .def_ro("seconds", &EvaluateReport::seconds)
      .def("__repr__", [](const EvaluateReport& r) {
        return fmt::format("<awq_cpp.EvaluateReport perplexity {:.4f}{}>", r.perplexity,
                           r.compared ? fmt::format(", KL {:.6f}", r.kl) : "");
      });
}

}  // namespace

void bind_model(nb::module_& m) {
  bind_evaluate_report(m);
  nb::class_<Model>(m, "Model", kModelDoc)
      .def("__init__", &load, "model"_a, nb::kw_only(), "version"_a = "auto", "device"_a = "auto", "threads"_a = 0,
           "ignore_salient"_a = false)
      .def(
          "encode",
          [](const Model& model, const std::string& text, bool special) { return model.encode(text, special); },
          "text"_a, "add_special_tokens"_a = true, "Text to token ids.")
      .def(
          "decode", [](const Model& model, const Ids& ids, bool skip) { return model.decode(ids, skip); }, "ids"_a,
          "skip_special_tokens"_a = true, "Token ids to text.")
      .def("logits", &logits, "ids"_a, "Logits after every token of one sequence: a numpy array (tokens, vocabulary).")
      .def("generate", &generate, "prompt"_a, nb::kw_only(), "max_new_tokens"_a = 128, "temperature"_a = 0.0f,
           "top_k"_a = 0, "top_p"_a = 1.0f, "seed"_a = 42, "stop_at_eos"_a = true, nb::keep_alive<0, 1>(), kGenerateDoc)
      .def("evaluate", &evaluate_model, "text"_a, nb::kw_only(), "against"_a = nb::none(), "window"_a = 512,
           "max_windows"_a = 60, "max_chars"_a = 1'500'000, "add_bos"_a = false, "progress"_a = nb::none(),
           kEvaluateDoc)
      .def_prop_ro("vocab_size", &Model::vocab_size)
      .def_prop_ro("kernels", &Model::kernels, "which kernels were chosen, one line")
      .def_prop_ro("device", &device_of, "where it runs: 'cpu', 'cuda:0'")
      .def_prop_ro("weight_bytes", &Model::weight_bytes, "bytes that a token must read")
      .def_prop_ro(
          "end_tokens", [](const Model& model) { return model.impl().eos; }, "token ids that end a text")
      .def_prop_ro("max_positions", [](const Model& model) { return model.impl().config.max_positions; });
}

}  // namespace awq::python
