// What takes how long: a whole model, or single kernels.
#include "awq/error.h"
#include "cli/args.h"
#include "cli/bench_kernels.h"
#include "cli/bench_model.h"
#include "cli/command.h"

namespace awq::cli {

int run_bench(Args& args) {
  ModelBenchRequest model;
  KernelBenchRequest kernels;
  args.about(
      "Times a model from the prompt to the last token: how long until the first token (the prompt is processed at "
      "once: a matter of the GEMM kernels), how long each further token takes (one row a sequence: a matter of the "
      "GEMV kernels and of memory bandwidth), and what share that is of the time in which this machine could read the "
      "bytes of a step. One sequence or several together; with --version gemv, gemm and the automatic choice side by "
      "side.");
  declare_model_bench(args, model);
  declare_kernel_bench(args, kernels);
  args.example("awq bench out/demo-awq", "one query, all kernel versions");
  args.example("awq bench out/demo-awq --prompt 512 --generate 128 --batch 1,2,4,8,16,32,64 --html out.html",
               "one to 64 sequences together, with charts");
  args.example("awq bench out/demo-awq --prompt 512,2048 --batch 1,8,64 --in-turn",
               "is the automatic choice as good as the better forced version?");
  args.example("awq bench --single-query --shapes llama3-8b", "on this GPU: GEMV or GEMM, and from how many requests");
  args.example("awq bench --kernels --csv bench/results", "every kernel of this machine at several numbers of tokens");
  args.finish();
  if (kernels.wanted()) return run_kernel_bench(args, kernels, model.load.device, model.load.threads);
  if (model.model.empty())
    throw Error(ErrorKind::kUsage, "MODEL is missing (or --kernels, or --single-query); see awq bench --help");
  return run_model_bench(args, model, kernels.csv, kernels.html);
}

}  // namespace awq::cli
