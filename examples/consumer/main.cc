// Which kernel would run one token through a 4096 x 4096 linear on each device of this machine; and, with a checkpoint
// as argument, what is in it and how it continues a sentence.
#include <awq/devices.h>
#include <awq/error.h>
#include <awq/inspect.h>
#include <awq/model.h>

#include <cstdio>

namespace {

void show_devices() {
  const awq::Problem one_token{.m = 1, .n = 4096, .k = 4096, .group_size = 128};
  for (const awq::DeviceInfo& device : awq::devices()) {
    if (!device.unusable.empty()) continue;
    std::printf("%s: %s\n", device.name.c_str(), awq::select_kernel(device, one_token).c_str());
  }
}

void show_checkpoint(const char* folder) {
  const awq::CheckpointInfo info = awq::inspect(folder);
  std::printf("%s: %.2f bits per weight\n", info.architecture.c_str(), info.bits_per_weight);
  const awq::Model model = awq::Model::load(folder);
  const awq::SamplingOptions greedy{.max_new_tokens = 16};
  model.generate(model.encode("The "), greedy,
                 [](std::string_view piece) { std::fwrite(piece.data(), 1, piece.size(), stdout); });
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    show_devices();
    if (argc > 1) show_checkpoint(argv[1]);
    return 0;
  } catch (const awq::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.kind());
  }
}
