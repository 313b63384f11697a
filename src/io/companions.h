// The files beside the weights: tokenizer, generation_config.json, chat template, licence, model code.
#pragma once
#include <filesystem>

namespace awq::io {

// Copies the regular files of a checkpoint's top folder except weights, their indices, config.json and hidden files.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace awq::io
