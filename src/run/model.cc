#include <algorithm>
#include <utility>

#include "awq/error.h"
#include "io/checkpoint.h"
#include "io/file.h"
#include "io/json.h"
#include "run/model_impl.h"

namespace awq {
namespace {

constexpr uint64_t kMaxConfigBytes = 1 << 20;

// generation_config.json knows every token that ends a text (chat models have several); config.json often only one.
std::vector<int32_t> end_tokens(const std::filesystem::path& folder, const model::ModelConfig& config) {
  const std::filesystem::path path = folder / "generation_config.json";
  if (!std::filesystem::exists(path)) return config.eos;
  const io::Json json = io::Json::parse(io::read_file(path, kMaxConfigBytes), path.string());
  const io::Json* value = json.find("eos_token_id");
  if (value == nullptr || value->is_null()) return config.eos;
  std::vector<int32_t> ids;
  const auto add = [&](const io::Json& id) {
    const auto whole = id.integer();
    if (!whole || *whole < 0 || *whole >= config.vocab)
      throw Error(ErrorKind::kBadInput, path.string() + ": eos_token_id must be token ids below the vocabulary size " +
                                            std::to_string(config.vocab));
    ids.push_back(static_cast<int32_t>(*whole));
  };
  if (value->array() == nullptr)
    add(*value);
  else
    for (const io::Json& id : *value->array()) add(id);
  return ids;
}

std::unique_ptr<Model::Impl> load_folder(const std::filesystem::path& folder, const LoadOptions& options) {
  auto impl = std::make_unique<Model::Impl>();
  const io::Checkpoint checkpoint(folder);
  impl->folder = folder;
  impl->options = options;
  impl->config = model::parse_config(checkpoint.config_text(), (folder / "config.json").string());
  impl->eos = end_tokens(folder, impl->config);
  if (std::filesystem::exists(folder / "tokenizer.json")) impl->tokenizer_ = io::Tokenizer::load(folder);
  impl->device = backend::open_device(options.device);
  impl->executor = impl->device->load_executor(checkpoint, impl->config,
                                               {.version = options.version,
                                                .slots = Model::Impl::kSlots,
                                                .capacity = 0,
                                                .threads = options.threads,
                                                .ignore_salient = options.ignore_salient});
  return impl;
}

}  // namespace

const io::Tokenizer& Model::Impl::tokenizer() const {
  if (tokenizer_) return *tokenizer_;
  throw Error(ErrorKind::kBadInput, folder.string() + " has no tokenizer.json: copy it from the original model");
}

Model Model::load(const std::string& model, const LoadOptions& options) {
  return with_context([&] { return "loading " + model; },
                      [&] { return Model(load_folder(io::resolve_model(model), options)); });
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Model::Impl& Model::impl() const { return *impl_; }

std::vector<int32_t> Model::encode(std::string_view text, bool add_special_tokens) const {
  return impl_->tokenizer().encode(text, add_special_tokens);
}
std::string Model::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  return impl_->tokenizer().decode(ids, skip_special_tokens);
}

std::vector<float> Model::logits(std::span<const int32_t> ids) const {
  if (ids.empty()) return {};
  std::vector<float> out(ids.size() * impl_->config.vocab);
  const backend::SequenceInput input{.slot = 0, .tokens = ids, .all_logits = true};
  const std::lock_guard turn(impl_->in_use);
  impl_->executor->reset(0);
  impl_->executor->forward({&input, 1}, {out.data(), std::ssize(ids), impl_->config.vocab});
  return out;
}

int Model::vocab_size() const { return static_cast<int>(impl_->config.vocab); }
std::string Model::kernels() const { return impl_->executor->kernels(); }
uint64_t Model::weight_bytes() const { return impl_->executor->weight_bytes(); }

}  // namespace awq
