// What a user may hand to `awq quantize` by mistake or malice: each row spoils one thing of a good model and says which
// exit code and which words must come of it. Nothing may be left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/process.h"
#include "cli/tiny_model.h"

namespace awq::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::HasSubstr;

constexpr const char* kDownProj = "model.layers.1.mlp.down_proj.weight";

struct Attempt {  // a row may change what is asked for as well
  std::vector<std::string> words;
  RunOptions options;
};

struct BadInput {
  const char* name;
  void (*spoil)(const TinyModel&, Attempt&);
  int code;
  std::vector<const char*> says;
};

void PrintTo(const BadInput& row, std::ostream* out) { *out << row.name; }

std::string at_root(const TinyModel& tiny, const char* name) { return (tiny.root() / name).string(); }

const BadInput kBadInputs[] = {
    {"truncated_weights",
     [](const TinyModel& tiny, Attempt&) { fs::resize_file(tiny.weights(), fs::file_size(tiny.weights()) - 100); },
     3,
     {"model.safetensors"}},
    {"header_past_the_end",
     [](const TinyModel& tiny, Attempt&) {
       tiny.overwrite(tiny.weights(), 0, std::string("\xff\xff\xff\x03\0\0\0\0", 8));
     },
     3,
     {"model.safetensors", "header"}},
    {"overlapping_tensors",
     [](const TinyModel& tiny, Attempt&) {
       tiny.edit_weights([](Json& header, std::string&) {
         header["model.layers.0.self_attn.k_proj.weight"]["data_offsets"] =
             header["model.layers.0.self_attn.q_proj.weight"]["data_offsets"];
       });
     },
     3,
     {"model.safetensors"}},
    {"duplicate_tensor",
     [](const TinyModel& tiny, Attempt&) {
       const std::string bytes = read_bytes(tiny.weights());
       const size_t at = bytes.find("layers.1.self_attn.k_proj");
       tiny.overwrite(tiny.weights(), at, "layers.1.self_attn.q_proj");
     },
     3,
     {"model.layers.1.self_attn.q_proj.weight"}},
    {"missing_tensor",
     [](const TinyModel& tiny, Attempt&) {
       tiny.edit_weights([](Json& header, std::string& data) {
         const size_t begin = header["model.norm.weight"]["data_offsets"][0];
         header.erase("model.norm.weight");
         data.resize(begin);
       });
     },
     3,
     {"model.norm.weight"}},
    {"missing_shard",
     [](const TinyModel& tiny, Attempt&) {
       fs::remove(tiny.weights());
       write_bytes(
           tiny.root() / "model" / "model.safetensors.index.json",
           R"({"metadata": {"total_size": 1}, "weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}})");
     },
     3,
     {"model-00002-of-00002.safetensors"}},
    {"lfs_pointer",
     [](const TinyModel& tiny, Attempt&) {
       write_bytes(tiny.weights(), "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
     },
     3,
     {"LFS"}},
    {"shape_against_config",
     [](const TinyModel& tiny, Attempt&) { tiny.edit_config([](Json& json) { json["intermediate_size"] = 256; }); },
     3,
     {"mlp", "128", "256"}},
    {"unsupported_architecture",
     [](const TinyModel& tiny, Attempt&) {
       tiny.edit_config([](Json& json) { json["architectures"] = {"BertForMaskedLM"}, json["model_type"] = "bert"; });
     },
     3,
     {"BertForMaskedLM", "LlamaForCausalLM"}},
    {"config_is_not_json",
     [](const TinyModel& tiny, Attempt&) { write_bytes(tiny.root() / "model" / "config.json", "{\"hidden_size\": "); },
     3,
     {"config.json"}},
    {"config_missing",
     [](const TinyModel& tiny, Attempt&) { fs::remove(tiny.root() / "model" / "config.json"); },
     3,
     {"config.json"}},
    {"config_overflows",
     [](const TinyModel& tiny, Attempt&) {
       tiny.edit_config([](Json& json) { json["hidden_size"] = 9223372036854775807; });
     },
     3,
     {"hidden_size", "9223372036854775807"}},
    {"config_negative",
     [](const TinyModel& tiny, Attempt&) { tiny.edit_config([](Json& json) { json["num_hidden_layers"] = -1; }); },
     3,
     {"num_hidden_layers", "-1"}},
    {"nan_weight",
     [](const TinyModel& tiny, Attempt&) {
       tiny.edit_weights([](Json& header, std::string& data) {
         data.replace(header[kDownProj]["data_offsets"][0].get<size_t>() + 2 * 77, 2, "\xc0\x7f");
       });
     },
     3,
     {kDownProj, "77"}},
    {"tokenizer_of_another_model",
     [](const TinyModel& tiny, Attempt&) {
       tiny.edit_config([](Json& json) { json["vocab_size"] = 100; });
       tiny.edit_weights([](Json& header, std::string& data) {  // an embedding of 100 rows, to go with it
         const size_t whole = header["model.embed_tokens.weight"]["data_offsets"][1], kept = 100 * 64 * 2;
         for (auto& [name, tensor] : header.items()) {
           for (auto& offset : tensor["data_offsets"]) {
             if (offset.get<size_t>() > 0) offset = offset.get<size_t>() - whole + kept;
           }
         }
         header["model.embed_tokens.weight"]["shape"][0] = 100;
         data.erase(kept, whole - kept);
       });
     },
     3,
     {"tokenizer", "100"}},
    {"tokenizer_missing",
     [](const TinyModel& tiny, Attempt&) { fs::remove(tiny.root() / "model" / "tokenizer.json"); },
     3,
     {"tokenizer.json"}},
    {"no_such_model",
     [](const TinyModel& tiny, Attempt&) { fs::remove_all(tiny.model()); },
     3,
     {"neither a folder nor"}},
    {"empty_calibration",
     [](const TinyModel& tiny, Attempt& attempt) {
       write_bytes(tiny.root() / "empty.txt", "\n  \n");
       attempt.words.insert(attempt.words.end(), {"--calib", at_root(tiny, "empty.txt")});
     },
     3,
     {"empty.txt"}},
    {"short_calibration",
     [](const TinyModel& tiny, Attempt& attempt) {
       write_bytes(tiny.root() / "short.txt", "Too short.");
       attempt.words.insert(attempt.words.end(), {"--calib", at_root(tiny, "short.txt")});
     },
     3,
     {"token", "32"}},
    {"calibration_without_the_column",
     [](const TinyModel& tiny, Attempt& attempt) {
       write_bytes(tiny.root() / "c.jsonl", "{\"content\": \"some text\"}\n");
       attempt.words.insert(attempt.words.end(), {"--calib", at_root(tiny, "c.jsonl")});
     },
     3,
     {"c.jsonl", "text"}},
    {"calibration_is_not_utf8",
     [](const TinyModel& tiny, Attempt& attempt) {
       write_bytes(tiny.root() / "c.txt", "abc \xff\xfe def");
       attempt.words.insert(attempt.words.end(), {"--calib", at_root(tiny, "c.txt")});
     },
     3,
     {"c.txt", "UTF-8"}},
    {"output_inside_input",
     [](const TinyModel& tiny, Attempt& attempt) { attempt.words[2] = tiny.model() + "/awq"; },
     2,
     {"output"}},
    {"output_is_input",
     [](const TinyModel& tiny, Attempt& attempt) { attempt.words[2] = tiny.model(); },
     2,
     {"output"}},
    {"output_is_input_through_a_link",
     [](const TinyModel& tiny, Attempt& attempt) {
       fs::create_symlink(tiny.model(), tiny.root() / "link");
       attempt.words[2] = at_root(tiny, "link");
     },
     2,
     {"output"}},
    {"disk_full",  // a file size limit is the full disk that needs no root
     [](const TinyModel&, Attempt& attempt) { attempt.options.max_file_bytes = 100'000; },
     4,
     {"bytes"}},
    {"read_only_output",
     [](const TinyModel& tiny, Attempt& attempt) {
       fs::create_directory(tiny.root() / "sealed");
       fs::permissions(tiny.root() / "sealed",
                       fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
       attempt.words[2] = at_root(tiny, "sealed/out");
       attempt.options.as_nobody = true;
     },
     1,
     {"sealed"}},
};

class EveryBadInput : public testing::TestWithParam<BadInput> {};

TEST_P(EveryBadInput, IsRefusedWithASentenceAndACode) {
  const TinyModel tiny;
  Attempt attempt{{"quantize", tiny.model(), tiny.out(), "--samples", "4", "--seqlen", "32", "--group-size", "32"}, {}};
  GetParam().spoil(tiny, attempt);
  const Result result = awq_run(attempt.words, attempt.options);
  EXPECT_EQ(result.code, GetParam().code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("error: "));
  for (const char* words : GetParam().says) EXPECT_THAT(result.err, HasSubstr(words));
  EXPECT_FALSE(fs::exists(tiny.out())) << "half a checkpoint was left behind";
}

INSTANTIATE_TEST_SUITE_P(Cli, EveryBadInput, testing::ValuesIn(kBadInputs),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(BadInput, AnUndividableWidthNamesTheLayersAndTheGroupsThatFit) {
  const TinyModel tiny(64, 96);
  const Result result = awq_run({"quantize", tiny.model(), tiny.out(), "--group-size", "64", "--dry-run"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("down_proj (96 inputs)"));
  EXPECT_THAT(result.err, HasSubstr("group sizes that fit: 32"));
}

}  // namespace
}  // namespace awq::test
