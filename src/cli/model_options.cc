#include "cli/model_options.h"

#include <fmt/format.h>

#include "cli/numbers.h"
#include "cli/terminal.h"

namespace awq::cli {

void add_load_options(Args& args, LoadOptions& options) {
  args.section("how to run");
  args.text("--version", "KERNEL", options.version,
            "kernel version: auto, gemv (one token at a time), gemm (many), or a row of awq devices");
  args.text("--device", "DEVICE", options.device, "auto, cpu, cuda or cuda:N");
  args.count("--threads", "N", options.threads, "0: one for each core", {0, 4096});
  args.flag("--ignore-salient", options.ignore_salient, "leave the channels of --keep-fp16 out, as other loaders do");
}

void note_kernels(const Args& args, const Model& model, std::string_view model_name) {
  if (!args.common().verbose) return;
  note(fmt::format("{}: {} read for each token; kernels: {}", model_name, human_bytes(model.weight_bytes()),
                   model.kernels()));
}

}  // namespace awq::cli
