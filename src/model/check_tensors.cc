// Does the checkpoint hold what its config.json says? Asked once, from headers, before any work begins.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "awq/error.h"
#include "io/checkpoint.h"
#include "io/escape.h"
#include "model/architectures.h"

namespace awq::model {
namespace {

constexpr size_t kListed = 8;
constexpr std::string_view kWeight = ".weight";

// AWQ's layouts have the first, compressed-tensors the second; Model Optimizer packs into a weight of bytes.
constexpr std::string_view kPackedSuffixes[] = {".qweight", ".weight_packed"};

bool is_bytes(const io::Checkpoint& checkpoint, const std::string& tensor) {
  return checkpoint.has(tensor) && checkpoint.info(tensor).known && checkpoint.info(tensor).dtype == Dtype::kU8;
}

class Checker {
 public:
  explicit Checker(const io::Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  void check(const TensorNeed& need) {
    if (need.linear && is_packed(checkpoint_, need.name.substr(0, need.name.size() - kWeight.size()))) return;
    if (!checkpoint_.has(need.name)) return note_missing(need.name);
    const std::vector<int64_t>& shape = checkpoint_.info(need.name).shape;
    if (shape != need.shape)
      throw Error(ErrorKind::kBadInput, fmt::format("tensor {} has shape [{}] but config.json implies [{}]; weights "
                                                    "and config.json are not of the same model",
                                                    need.name, fmt::join(shape, ", "), fmt::join(need.shape, ", ")));
  }

  void finish() const {
    if (missing_ == 0) return;
    throw Error(ErrorKind::kBadInput, fmt::format("{} lacks {} of the tensors that its config.json implies: {}{}",
                                                  io::printable(checkpoint_.folder().native()), missing_, list_,
                                                  missing_ > kListed ? " ..." : ""));
  }

 private:
  void note_missing(const std::string& name) {
    if (missing_++ < kListed) list_ += (list_.empty() ? "" : ", ") + name;
  }

  const io::Checkpoint& checkpoint_;
  size_t missing_ = 0;
  std::string list_;
};

}  // namespace

bool is_packed(const io::Checkpoint& checkpoint, const std::string& module) {
  return is_bytes(checkpoint, module + std::string(kWeight)) ||
         std::any_of(std::begin(kPackedSuffixes), std::end(kPackedSuffixes),
                     [&](std::string_view suffix) { return checkpoint.has(module + std::string(suffix)); });
}

void check_tensors(const io::Checkpoint& checkpoint, const ModelConfig& config) {
  Checker checker(checkpoint);
  for (const TensorNeed& need : outer_tensors(config)) checker.check(need);
  for (int64_t layer = 0; layer < config.layers; ++layer)
    for (const TensorNeed& need : block_tensors(config, layer)) checker.check(need);
  checker.finish();
}

}  // namespace awq::model
