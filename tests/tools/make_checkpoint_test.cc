#include "make_checkpoint.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "awq/error.h"
#include "awq/model.h"
#include "awq/quantize.h"
#include "core/hash.h"
#include "format/small_checkpoint.h"
#include "io/checkpoint.h"
#include "io/tokenizer/tokenizer.h"
#include "letter_tokenizer.h"
#include "random_tensor.h"
#include "shapes.h"

namespace awq::tools {
namespace {

namespace fs = std::filesystem;
using format::get_file;
using format::TempFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

MakeOptions tiny(const fs::path& out) {
  MakeOptions options;
  options.like = "tiny";
  options.out = out;
  return options;
}

std::string refused(const MakeOptions& options, ErrorKind kind) {
  try {
    make_checkpoint(options);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "was accepted";
  return "";
}

// From the models' own config.json, and their number of parameters as published with the weights.
struct Published {
  const char* name;
  const char* architecture;
  int64_t hidden, layers, heads, kv_heads, intermediate, vocab;
  double rope_theta, norm_eps;
  int64_t sliding_window;
  bool bias;
  int64_t parameters;
};
constexpr Published kPublished[] = {
    {"llama3-8b", "LlamaForCausalLM", 4096, 32, 32, 8, 14336, 128256, 500000, 1e-5, 0, false, 8'030'261'248},
    {"llama2-7b", "LlamaForCausalLM", 4096, 32, 32, 32, 11008, 32000, 10000, 1e-5, 0, false, 6'738'415'616},
    {"qwen2.5-7b", "Qwen2ForCausalLM", 3584, 28, 28, 4, 18944, 152064, 1e6, 1e-6, 0, true, 7'615'616'512},
    {"mistral-7b", "MistralForCausalLM", 4096, 32, 32, 8, 14336, 32000, 10000, 1e-5, 4096, false, 7'241'732'096},
    {"llama3-70b", "LlamaForCausalLM", 8192, 80, 64, 8, 28672, 128256, 500000, 1e-5, 0, false, 70'553'706'496}};

int64_t count_parameters(const model::ModelConfig& config) {
  int64_t sum = 0;
  const auto add = [&](const std::vector<model::TensorNeed>& needs) {
    for (const model::TensorNeed& need : needs)
      sum += std::accumulate(need.shape.begin(), need.shape.end(), int64_t{1}, std::multiplies<>());
  };
  add(model::outer_tensors(config));
  for (int64_t layer = 0; layer < config.layers; ++layer) add(model::block_tensors(config, layer));
  return sum;
}

TEST(MakeCheckpoint, ShapesAreThePublishedOnes) {
  EXPECT_EQ(published_shapes().size(), std::size(kPublished) + 1);  // and tiny
  for (const Published& p : kPublished) {
    SCOPED_TRACE(p.name);
    const auto c = model::parse_config(config_json(published_shape(p.name), p.layers, Dtype::kBF16), p.name);
    EXPECT_EQ(c.arch->hf_name, p.architecture);
    EXPECT_EQ(c.hidden, p.hidden);
    EXPECT_EQ(c.layers, p.layers);
    EXPECT_EQ(published_shape(p.name).layers, p.layers);
    EXPECT_EQ(c.heads, p.heads);
    EXPECT_EQ(c.kv_heads, p.kv_heads);
    EXPECT_EQ(c.head_dim, 128);
    EXPECT_EQ(c.intermediate, p.intermediate);
    EXPECT_EQ(c.vocab, p.vocab);
    EXPECT_EQ(c.rope.theta, p.rope_theta);
    EXPECT_EQ(c.norm_eps, p.norm_eps);
    EXPECT_EQ(c.sliding_window, p.sliding_window);
    EXPECT_EQ(c.attention_bias, p.bias);
    EXPECT_FALSE(c.output_bias || c.mlp_bias || c.tied_embeddings);
    EXPECT_EQ(c.source_dtype, "bfloat16");
    EXPECT_EQ(count_parameters(c), p.parameters);
  }
}

TEST(MakeCheckpoint, TinyLoadsComputesAndPlans) {
  TempFolder folder;
  const MakeReport report = make_checkpoint(tiny(folder / "out"));
  EXPECT_EQ(report.layers, 2);
  const io::Checkpoint checkpoint(folder / "out");
  EXPECT_THAT(checkpoint.warnings(), IsEmpty());
  EXPECT_EQ(checkpoint.total_bytes(), report.bytes);
  EXPECT_EQ(report.parameters * 2, static_cast<int64_t>(report.bytes));

  const Model model = Model::load((folder / "out").string(), {.device = "cpu"});
  const std::vector<int32_t> ids = model.encode("The same text, whatever it says: 42!");
  const std::vector<float> logits = model.logits(ids);
  ASSERT_THAT(logits, SizeIs(ids.size() * 1024));
  double squares = 0;
  for (const float x : logits) {
    ASSERT_TRUE(std::isfinite(x));
    squares += double{x} * x;
  }
  const double rms = std::sqrt(squares / static_cast<double>(logits.size()));
  EXPECT_GT(rms, 0.5);  // 1 by construction: unit inputs, columns of length 1
  EXPECT_LT(rms, 2);

  QuantizeOptions options;
  options.model = (folder / "out").string();
  options.out = folder / "awq";
  options.dry_run = true;
  EXPECT_GT(quantize(options).planned_disk_bytes, 0u);
  EXPECT_FALSE(fs::exists(folder / "awq"));
}

// What the outlier channels are for: plain rounding suffers from them where a linear reads a norm.
TEST(MakeCheckpoint, SearchHelpsAsOnALargeModel) {
  TempFolder folder;
  make_checkpoint(tiny(folder / "out"));
  QuantizeOptions options;
  options.model = (folder / "out").string();
  options.out = folder / "awq";
  options.samples = 4;
  options.seqlen = 64;
  int reading_norms = 0;
  for (const LinearReport& linear : quantize(options).linears) {
    EXPECT_LE(linear.loss, linear.rtn_loss) << linear.name;
    if (linear.name.ends_with("o_proj") || linear.name.ends_with("down_proj")) continue;
    EXPECT_LT(linear.loss, 0.8 * linear.rtn_loss) << linear.name;
    ++reading_norms;
  }
  EXPECT_EQ(reading_norms, 10);
}

TEST(MakeCheckpoint, SeedDecidesAndThreadsDoNot) {
  TempFolder folder;
  MakeOptions one = tiny(folder / "one"), two = tiny(folder / "two"), other = tiny(folder / "other");
  one.threads = 1;
  two.threads = 2;
  other.seed = 1;
  for (const MakeOptions& options : {one, two, other}) make_checkpoint(options);
  for (const char* name : {"model.safetensors", "config.json", "tokenizer.json", "make_checkpoint.json"})
    EXPECT_EQ(get_file(folder / "one" / name), get_file(folder / "two" / name)) << name;
  EXPECT_NE(get_file(folder / "one/model.safetensors"), get_file(folder / "other/model.safetensors"));
}

RandomTensor several_pieces() {
  RandomTensor tensor{.key = random_key(7, "w"), .dtype = Dtype::kF16, .mean = 0, .std = 0.5};
  tensor.rows = 601;
  tensor.columns = 999;  // rows begin in the middle of a hash
  tensor.outlier_rows = {0, 300, 600};
  tensor.outlier_gain = 4;
  return tensor;
}

TEST(RandomTensor, IsTheSameInAnyPiecesAndThreads) {
  const RandomTensor tensor = several_pieces();
  const TensorFiller filler(tensor);
  ThreadPool alone(1), pair(2);
  std::vector<uint16_t> whole(static_cast<size_t>(tensor.rows * tensor.columns)), again(whole.size());
  filler.fill(alone, 0, whole);
  filler.fill(pair, 0, again);
  EXPECT_EQ(whole, again);
  std::fill(again.begin(), again.end(), 0);
  for (size_t begin = 0, step = 1; begin < whole.size(); begin += step, step = step * 3 + 1) {
    step = std::min(step, whole.size() - begin);
    filler.fill(pair, static_cast<int64_t>(begin), std::span(again).subspan(begin, step));
  }
  EXPECT_EQ(whole, again);
  EXPECT_EQ(hash_hex(std::as_bytes(std::span(whole))), "017bd2f92e2f24717ad7d7cfcddff9bf");
}

// An error of 2e-7 x moves P by 2e-7 |x| phi(x), and |x| phi(x) <= (1 + x^2) P(beyond x).
TEST(RandomTensor, QuantilesInvertTheNormalDistribution) {
  for (int i = 0; i < 65536; ++i) {
    const double p = (i + 0.5) / 65536, x = normal_quantile(p);
    ASSERT_NEAR(std::erfc(-x / std::sqrt(2.0)) / 2, p, 2e-7 * (1 + x * x) * std::min(p, 1 - p)) << i;
  }
}

struct Moments {
  double mean = 0, std = 0, kurtosis = 0, largest = 0;
};
Moments moments(std::span<const float> values) {
  Moments m;
  const auto n = static_cast<double>(values.size());
  for (const float x : values) m.mean += x / n;
  double second = 0, fourth = 0;
  for (const float x : values) {
    const double square = (x - m.mean) * (x - m.mean);
    second += square / n;
    fourth += square * square / n;
    m.largest = std::max<double>(m.largest, std::abs(x));
  }
  m.std = std::sqrt(second);
  m.kurtosis = fourth / (second * second);
  return m;
}

// Five standard errors of each estimate: sigma / sqrt(n), sigma / sqrt(2 n), sqrt(24 / n).
void expect_normal(std::span<const float> values, double mean, double std) {
  const Moments m = moments(values);
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(m.mean, mean, 5 * std / std::sqrt(n));
  EXPECT_NEAR(m.std, std, 5 * std / std::sqrt(2 * n) + std * 0x1p-9);
  EXPECT_NEAR(m.kurtosis, 3, 5 * std::sqrt(24 / n));
  EXPECT_LT(m.largest - std::abs(mean), 4.4 * std);
}

std::vector<float> values_of(const RandomTensor& tensor) {
  std::vector<uint16_t> bits(static_cast<size_t>(tensor.rows * tensor.columns));
  ThreadPool pool(1);
  TensorFiller(tensor).fill(pool, 0, bits);
  std::vector<float> values;
  const auto to_float = tensor.dtype == Dtype::kF16 ? f16_to_f32 : bf16_to_f32;
  for (const uint16_t b : bits) values.push_back(to_float(b));
  return values;
}

TEST(RandomTensor, OutlierRowsAreTheOthersTimesTheGain) {
  RandomTensor tensor = several_pieces();
  const std::vector<float> loud = values_of(tensor);
  tensor.outlier_rows.clear();
  const std::vector<float> plain = values_of(tensor);
  expect_normal(plain, 0, 0.5);
  for (size_t i = 0; i < plain.size(); ++i) {
    const size_t row = i / 999;
    ASSERT_EQ(loud[i], plain[i] * (row == 0 || row == 300 || row == 600 ? 4 : 1)) << i;
  }
}

TEST(MakeCheckpoint, WeightsAreSpreadAsDocumented) {
  TempFolder folder;
  make_checkpoint(tiny(folder / "out"));
  const io::Checkpoint checkpoint(folder / "out");
  const auto read = [&](const std::string& name) { return checkpoint.read_f32(name); };
  expect_normal(read("model.embed_tokens.weight"), 0, 0.02);
  expect_normal(read("lm_head.weight"), 0, 1 / 16.);
  for (const char* linear : {"q_proj", "k_proj", "o_proj"})
    expect_normal(read(fmt::format("model.layers.1.self_attn.{}.weight", linear)), 0, 1 / 16.);
  expect_normal(read("model.layers.1.mlp.gate_proj.weight"), 0, 1 / 16.);
  expect_normal(read("model.layers.1.mlp.down_proj.weight"), 0, 1 / std::sqrt(512.));
  EXPECT_LT(moments(read("model.norm.weight")).largest, 1.25);
}

std::vector<int64_t> outlier_rows(const std::vector<float>& values, size_t rows, double usual) {
  std::vector<int64_t> found;
  const size_t columns = values.size() / rows;
  for (size_t row = 0; row < rows; ++row) {
    double squares = 0;
    for (size_t c = 0; c < columns; ++c) squares += values[row * columns + c] * values[row * columns + c];
    if (std::sqrt(squares / static_cast<double>(columns)) > 8 * usual) found.push_back(static_cast<int64_t>(row));
  }
  return found;
}

TEST(MakeCheckpoint, OutlierChannelsFeedEveryGroup) {
  TempFolder folder;
  make_checkpoint(tiny(folder / "out"));
  const io::Checkpoint checkpoint(folder / "out");
  std::set<std::vector<int64_t>> of_norms, of_up;
  for (const std::string prefix : {"model.layers.0.", "model.layers.1."}) {
    for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
      of_norms.insert(outlier_rows(checkpoint.read_f32(prefix + norm), 256, 1));
    of_up.insert(outlier_rows(checkpoint.read_f32(prefix + "mlp.up_proj.weight"), 512, 1 / 16.));
    EXPECT_THAT(outlier_rows(checkpoint.read_f32(prefix + "self_attn.v_proj.weight"), 128, 1 / 16.), SizeIs(1));
    EXPECT_THAT(outlier_rows(checkpoint.read_f32(prefix + "self_attn.q_proj.weight"), 256, 1 / 16.), IsEmpty());
  }
  EXPECT_THAT(of_norms, ElementsAre(SizeIs(1)));          // the same everywhere
  EXPECT_THAT(of_up, ElementsAre(SizeIs(3), SizeIs(3)));  // 0.5 % of 512, another choice in each block
}

TEST(MakeCheckpoint, FewerLayersAreTheFirstOnes) {
  TempFolder folder;
  MakeOptions cut = tiny(folder / "cut");
  cut.layers = 1;
  make_checkpoint(tiny(folder / "whole"));
  EXPECT_EQ(make_checkpoint(cut).layers, 1);
  const io::Checkpoint whole(folder / "whole"), part(folder / "cut");
  EXPECT_EQ(model::parse_config(part.config_text(), "config.json").layers, 1);
  EXPECT_THAT(part.names(), SizeIs(3 + 9));
  EXPECT_THAT(whole.names(), SizeIs(3 + 18));
  for (const std::string& name : part.names()) EXPECT_EQ(part.read_f32(name), whole.read_f32(name)) << name;
}

TEST(MakeCheckpoint, WritesShardsAndHalfPrecision) {
  TempFolder folder;
  MakeOptions options = tiny(folder / "out");
  options.dtype = Dtype::kF16;
  options.max_shard_bytes = 1 << 20;
  std::vector<std::string> announced;
  options.on_shard = [&](const std::string& file, uint64_t bytes) {
    announced.push_back(file);
    EXPECT_LE(bytes, 1u << 20);
  };
  const MakeReport report = make_checkpoint(options);
  EXPECT_GT(report.files, 2);
  EXPECT_THAT(announced, SizeIs(report.files));
  EXPECT_EQ(announced.front(), fmt::format("model-00001-of-{:05}.safetensors", report.files));
  const io::Checkpoint checkpoint(folder / "out");
  EXPECT_THAT(checkpoint.warnings(), IsEmpty());
  for (const std::string& name : checkpoint.names()) EXPECT_EQ(checkpoint.info(name).dtype, Dtype::kF16);
  EXPECT_EQ(model::parse_config(checkpoint.config_text(), "config.json").source_dtype, "float16");
}

MakeOptions tiny_quantized(const fs::path& out) {
  MakeOptions options = tiny(out);
  options.dtype = Dtype::kF16;
  options.quantized = true;
  return options;
}

TEST(MakeCheckpoint, QuantizedLoadsAndComputesAsWideAsFloats) {
  TempFolder folder;
  const MakeReport report = make_checkpoint(tiny_quantized(folder / "out"));
  EXPECT_EQ(report.parameters, make_checkpoint(tiny(folder / "floats")).parameters);
  const io::Checkpoint checkpoint(folder / "out");
  EXPECT_THAT(checkpoint.warnings(), IsEmpty());
  EXPECT_EQ(checkpoint.total_bytes(), report.bytes);
  EXPECT_THAT(checkpoint.names(), SizeIs(3 + 2 * (2 + 7 * 3)));  // of a block: two norms, seven packed linears

  const Model model = Model::load((folder / "out").string(), {.device = "cpu"});
  const std::vector<int32_t> ids = model.encode("The same text, whatever it says: 42!");
  double squares = 0;
  const std::vector<float> logits = model.logits(ids);
  for (const float x : logits) {
    ASSERT_TRUE(std::isfinite(x));
    squares += double{x} * x;
  }
  const double rms = std::sqrt(squares / static_cast<double>(logits.size()));
  EXPECT_GT(rms, 0.5);
  EXPECT_LT(rms, 2);
}

TEST(MakeCheckpoint, QuantizedCodesAreUniformAroundTheirZeroPoints) {
  TempFolder folder;
  make_checkpoint(tiny_quantized(folder / "out"));
  const io::Checkpoint checkpoint(folder / "out");
  const std::string linear = "model.layers.1.mlp.down_proj.";
  const auto nibbles = [&](const char* suffix) {
    std::vector<int64_t> counts(16);
    std::vector<std::byte> bytes(checkpoint.info(linear + suffix).bytes());
    checkpoint.read_bytes(linear + suffix, bytes);
    for (const std::byte b : bytes)
      ++counts[std::to_integer<size_t>(b & std::byte{15})], ++counts[std::to_integer<size_t>(b >> 4)];
    return counts;
  };
  const std::vector<int64_t> codes = nibbles("qweight"), zeros = nibbles("qzeros");
  constexpr double kCodes = 256 * 512, kZeros = 256 * 4;
  for (const int64_t count : codes) EXPECT_NEAR(double(count), kCodes / 16, 5 * std::sqrt(kCodes / 16));
  for (size_t z = 0; z < zeros.size(); ++z)
    EXPECT_NEAR(double(zeros[z]), z == 7 || z == 8 ? kZeros / 2 : 0, z == 7 || z == 8 ? 5 * std::sqrt(kZeros / 4) : 0)
        << z;
  for (const float scale : checkpoint.read_f32(linear + "scales"))
    EXPECT_NEAR(scale, 1 / (4.6 * std::sqrt(512.)), 0.6 / (4.6 * std::sqrt(512.)));
}

TEST(MakeCheckpoint, QuantizedSeedDecidesAndThreadsDoNot) {
  TempFolder folder;
  MakeOptions one = tiny_quantized(folder / "one"), two = tiny_quantized(folder / "two"),
              other = tiny_quantized(folder / "other");
  one.threads = 1;
  two.threads = 2;
  other.seed = 1;
  for (const MakeOptions& options : {one, two, other}) make_checkpoint(options);
  EXPECT_EQ(get_file(folder / "one/model.safetensors"), get_file(folder / "two/model.safetensors"));
  EXPECT_NE(get_file(folder / "one/model.safetensors"), get_file(folder / "other/model.safetensors"));
}

TEST(LetterTokenizer, FillsTheVocabularyOfEveryShape) {
  const std::string text = "\tDie Würde des Menschen, and the rest of it: 漢字 \xF0\x9F\x99\x82 1234.\n";
  for (const PublishedShape& shape : published_shapes()) {
    const auto tokenizer = io::Tokenizer::parse(letter_tokenizer_json(shape.vocab, shape.bos, shape.eos), "here");
    EXPECT_EQ(tokenizer.vocab_size(), shape.vocab);
    const std::vector<int32_t> ids = tokenizer.encode(text, true);
    EXPECT_EQ(tokenizer.decode(ids, true), text);
    EXPECT_LT(ids.size(), text.size());
    for (const int32_t id : ids) EXPECT_TRUE(id >= 0 && id < shape.vocab && id != shape.bos && id != shape.eos);
    for (const int32_t id : {0, shape.bos, shape.eos, static_cast<int32_t>(shape.vocab) - 1})
      EXPECT_NE(tokenizer.token_text(id), "") << shape.name << " " << id;
    EXPECT_EQ(tokenizer.token_id("<|bos|>"), shape.bos);
  }
}

TEST(MakeCheckpoint, RefusesAndNamesTheRemedy) {
  TempFolder folder;
  MakeOptions options = tiny(folder / "out");
  options.like = "llama4-9b";
  EXPECT_THAT(refused(options, ErrorKind::kUsage), HasSubstr("llama3-8b, llama2-7b, qwen2.5-7b"));
  options = tiny(folder / "out");
  for (const int64_t layers : {int64_t{-1}, int64_t{3}}) {
    options.layers = layers;
    EXPECT_THAT(refused(options, ErrorKind::kUsage), HasSubstr("choose 1 to 2"));
  }
  options = tiny(folder / "out");
  options.dtype = Dtype::kF32;
  EXPECT_THAT(refused(options, ErrorKind::kUsage), HasSubstr("BF16 or F16"));
  options = tiny(folder / "out");
  options.max_shard_bytes = 1000;
  EXPECT_THAT(refused(options, ErrorKind::kUsage), HasSubstr("at least 1 MiB"));
  EXPECT_THAT(refused(tiny(folder / "absent/out"), ErrorKind::kUsage), HasSubstr("create it first"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(MakeCheckpoint, ReplacesOnlyWhenTold) {
  TempFolder folder;
  MakeOptions options = tiny(folder / "out");
  make_checkpoint(options);
  const std::string before = get_file(folder / "out/model.safetensors");
  options.seed = 1;
  EXPECT_THAT(refused(options, ErrorKind::kExists), HasSubstr("--force"));
  EXPECT_EQ(get_file(folder / "out/model.safetensors"), before);
  options.force = true;
  make_checkpoint(options);
  EXPECT_NE(get_file(folder / "out/model.safetensors"), before);
}

TEST(MakeCheckpoint, LooksForRoomBeforeItBegins) {
  TempFolder folder;
  if (io::free_disk_bytes(folder.path()) > 141'000'000'000) GTEST_SKIP() << "the largest shape fits on this disk";
  MakeOptions options = tiny(folder / "out");
  options.like = "llama3-70b";
  EXPECT_THAT(refused(options, ErrorKind::kNoRoom), HasSubstr("needs 141.1 GB"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

int run_tool(const std::string& arguments) {
  return WEXITSTATUS(std::system((MAKE_CHECKPOINT " " + arguments + " > /dev/null 2>&1").c_str()));
}

TEST(MakeCheckpoint, ExitCodesSayWhatHappened) {
  TempFolder folder;
  const std::string out = (folder / "out").string();
  EXPECT_EQ(run_tool("--help"), 0);
  EXPECT_EQ(run_tool("--like tiny --layers 1 --dtype f16 --seed 3 --shard-bytes 2000000 --threads 1 " + out), 0);
  EXPECT_EQ(run_tool("--like tiny " + out), 6);
  EXPECT_EQ(run_tool("--like tiny --force " + out), 0);
  for (const char* wrong : {"", "--like tiny", "OUT", "--like tiny --layers 0 OUT", "--like tiny --dtype f32 OUT",
                            "--like tiny --seed x OUT", "--like tiny --speed OUT", "--like tiny A B", "--like OUT"})
    EXPECT_EQ(run_tool(wrong), 2) << wrong;
}

}  // namespace
}  // namespace awq::tools
