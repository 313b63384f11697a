// The whole job on the bundled demo model with little text: what the files hold, resume, threads, refusals.
#include "awq/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "awq/error.h"
#include "awq/model.h"
#include "format/registry.h"
#include "format/salient.h"
#include "io/checkpoint.h"
#include "io/tokenizer/tokenizer.h"
#include "quant/small_job.h"
#include "run/packed_model.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::contents;
using testing::HasSubstr;

const std::string kDemo = AWQ_SOURCE_DIR "/models/demo";

class Quantize : public test::SmallJob {
 protected:
  static void expect_error(const QuantizeOptions& o, ErrorKind kind, const std::string& words) {
    try {
      quantize(o);
      ADD_FAILURE() << "no error, expected: " << words;
    } catch (const Error& e) {
      EXPECT_EQ(static_cast<int>(e.kind()), static_cast<int>(kind)) << e.what();
      EXPECT_THAT(e.what(), HasSubstr(words));
    }
    EXPECT_FALSE(fs::exists(o.out) && !o.force && kind != ErrorKind::kExists);
  }
};

TEST_F(Quantize, TakesTextsAndTokensFromMemory) {
  const QuantizeOptions from_file = options("file");
  QuantizeOptions from_memory = options("texts"), from_tokens = options("tokens"), mixed_up = options("mixed_up");
  const std::string text = content_of(from_file.calib[0].path);
  const std::vector<int32_t> ids = io::Tokenizer::load(kDemo).encode(text, false);
  from_memory.calib = {{.path = "", .documents = {text}}};
  from_tokens.calib = {{.path = "", .tokens = {{ids.begin(), ids.begin() + 100}, {ids.begin() + 100, ids.end()}}}};
  mixed_up.calib = {{.path = "", .tokens = {{ids.begin() + 100, ids.end()}, {ids.begin(), ids.begin() + 100}}}};
  quantize(from_file);
  quantize(from_memory);
  quantize(from_tokens);
  quantize(mixed_up);
  EXPECT_EQ(contents(from_memory.out), contents(from_file.out));
  EXPECT_EQ(contents(from_tokens.out), contents(from_file.out));
  EXPECT_NE(contents(mixed_up.out), contents(from_file.out)) << "the tokens decide";
  from_tokens.out = folder_ / "few";
  from_tokens.calib = {{.path = "", .tokens = {{1, 2, 3}}}};
  expect_error(from_tokens, ErrorKind::kBadInput, "the list of 1 token lists has 3 tokens, one window needs 64");
  from_tokens.calib = {{.path = "", .tokens = {std::vector<int32_t>(64, 4096)}}};
  expect_error(from_tokens, ErrorKind::kBadInput, "token id 4096 but the model's vocabulary has 4096");
}

TEST_F(Quantize, WritesACheckpointEveryLoaderKnows) {
  const QuantizeOptions o = options("out");
  const QuantizeReport report = quantize(o);
  EXPECT_EQ(report.tokens, 4u * 64);
  EXPECT_EQ(report.linears.size(), 6u * 7);
  for (const LinearReport& l : report.linears) EXPECT_LE(l.loss, l.rtn_loss) << l.name;
  EXPECT_FALSE(fs::exists(folder_ / "out.awq-work"));
  const auto config = nlohmann::json::parse(content_of(o.out / "config.json"));
  EXPECT_EQ(config["quantization_config"],
            nlohmann::json::parse(R"({"quant_method":"awq","bits":4,"group_size":64,"zero_point":true,"version":"gemm",
                                      "modules_to_not_convert":null})"));
  EXPECT_EQ(config["dtype"], "float16");
  EXPECT_EQ(config["hidden_size"], 256);
  EXPECT_EQ(content_of(o.out / "tokenizer.json"), content_of(fs::path(kDemo) / "tokenizer.json"));
  const io::Checkpoint written(o.out);
  EXPECT_EQ(written.info("model.layers.2.mlp.down_proj.qweight").shape, (std::vector<int64_t>{768, 256 / 8}));
  EXPECT_EQ(written.info("model.layers.2.mlp.down_proj.scales").shape, (std::vector<int64_t>{768 / 64, 256}));
  EXPECT_TRUE(written.has("model.norm.weight"));
  EXPECT_FALSE(written.has("lm_head.weight"));  // tied
  EXPECT_FALSE(written.has("model.layers.2.mlp.down_proj.weight"));
  const uint64_t on_disk = fs::file_size(o.out / "model.safetensors");
  EXPECT_NEAR(static_cast<double>(report.bytes_out), static_cast<double>(on_disk), 65536);  // the plan, plus the header
}

TEST_F(Quantize, ThreadsDoNotChangeAByte) {
  QuantizeOptions a = options("a"), b = options("b");
  a.threads = 1;
  b.threads = 3;
  a.search = b.search = Search::kBoth;
  quantize(a);
  quantize(b);
  EXPECT_EQ(contents(a.out), contents(b.out));
}

TEST_F(Quantize, StopAndResumeGiveTheSameBytes) {
  const QuantizeOptions whole = options("whole");
  quantize(whole);
  QuantizeOptions part = options("part");
  std::atomic<int> stop{0};
  part.stop = &stop;
  part.progress = [&](const QuantizeProgress& p) {
    if (p.block == 3) stop = 2;
  };
  expect_error(part, ErrorKind::kInterrupted, "--resume");
  EXPECT_TRUE(fs::exists(folder_ / "part.awq-work" / "job.json"));
  stop = 0;
  part.progress = nullptr;
  expect_error(part, ErrorKind::kExists, "--resume");  // never silently thrown away
  part.resume = true;
  part.samples = 3;
  expect_error(part, ErrorKind::kUsage, "windows: was 4, is 3");
  part.samples = 4;
  {  // a damaged block is done again
    const fs::path shard = folder_ / "part.awq-work" / "shards" / "model.safetensors";
    const io::SafetensorsFile file(shard);
    const io::TensorInfo* qweight = file.find("model.layers.1.mlp.down_proj.qweight");
    ASSERT_NE(qweight, nullptr);
    std::fstream f(shard, std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(static_cast<std::streamoff>(file.header().data_start + qweight->end - 5));
    f.put('x');
  }
  int passed = 0;
  part.progress = [&](const QuantizeProgress& p) { passed += p.stage.find("already done") == 0; };
  quantize(part);
  EXPECT_EQ(passed, 2);  // blocks 0 and 2
  EXPECT_EQ(contents(whole.out), contents(part.out));
  EXPECT_FALSE(fs::exists(folder_ / "part.awq-work"));
}

TEST_F(Quantize, ShardsLikeHuggingFace) {
  QuantizeOptions o = options("sharded");
  o.max_shard_bytes = 2 << 20;
  quantize(o);
  EXPECT_TRUE(fs::exists(o.out / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(o.out / "model.safetensors"));
  const QuantizeOptions single = options("single");
  quantize(single);
  const io::Checkpoint a(o.out), b(single.out);
  ASSERT_EQ(a.names(), b.names());
  for (const std::string& name : a.names()) {
    std::vector<std::byte> x(a.info(name).bytes()), y(b.info(name).bytes());
    a.read_bytes(name, x);
    b.read_bytes(name, y);
    EXPECT_EQ(x, y) << name;
  }
}

// qweight covers all channels, and original = dequantized + correction on the salient ones, to fp16.
TEST_F(Quantize, SalientCorrectionRestoresTheColumns) {
  QuantizeOptions o = options("salient");
  o.search = Search::kNone;
  o.clip = false;
  o.keep_fp16 = 0.01;
  quantize(o);
  const io::Checkpoint written(o.out), original(kDemo);
  EXPECT_FALSE(written.has("model.layers.0.mlp.up_proj.salient_index"));
  const io::SafetensorsFile side(o.out / format::kSalientFile);
  const std::string module = "model.layers.0.mlp.down_proj";
  const format::SalientColumns columns = format::read_salient(side, module, 256, 768);
  ASSERT_EQ(columns.index.size(), 8u);  // 1 % of 768
  std::vector<format::EncodedTensor> tensors;
  for (const char* suffix : {"qweight", "qzeros", "scales"}) {
    const io::TensorInfo& info = written.info(module + "." + suffix);
    tensors.push_back({suffix, info.dtype, info.shape, std::vector<std::byte>(info.bytes())});
    written.read_bytes(info.name, tensors.back().bytes);
  }
  const auto source = [&](std::string_view suffix) -> const format::EncodedTensor* {
    for (const auto& t : tensors)
      if (t.suffix == suffix) return &t;
    return nullptr;
  };
  const format::QuantizedLinear q = format::layout(Layout::kGemm).decode(source, 256, 768, 64);
  const std::vector<float> w = original.read_f32(module + ".weight");
  double worst_salient = 0, worst_other = 0;
  for (int64_t r = 0; r < 256; ++r)
    for (int64_t c = 0; c < 768; ++c) {
      const auto at = std::find(columns.index.begin(), columns.index.end(), c);
      const bool salient = at != columns.index.end();
      const float delta = salient ? f16_to_f32(columns.delta[(at - columns.index.begin()) * 256 + r]) : 0;
      double& worst = salient ? worst_salient : worst_other;
      worst = std::max<double>(worst, std::fabs(q.dequantized(r, c) + delta - w[r * 768 + c]));
    }
  EXPECT_LT(worst_salient, 1e-4);
  EXPECT_GT(worst_other, 10 * worst_salient);
}

TEST_F(Quantize, ModuleObjectiveIsNeverWorseThanRounding) {
  QuantizeOptions o = options("module");
  o.objective = Objective::kModule;
  for (const LinearReport& l : quantize(o).linears) EXPECT_LE(l.loss, l.rtn_loss) << l.name;
}

TEST_F(Quantize, KeptModulesStayFp16) {
  QuantizeOptions o = options("kept");
  o.config.modules_to_not_convert = {"v_proj"};
  const QuantizeReport report = quantize(o);
  EXPECT_THAT(report.kept_fp16, testing::Contains("model.layers.0.self_attn.v_proj"));
  const io::Checkpoint written(o.out);
  EXPECT_EQ(written.info("model.layers.0.self_attn.v_proj.weight").dtype, Dtype::kF16);
  EXPECT_TRUE(written.has("model.layers.0.self_attn.q_proj.qweight"));
}

TEST_F(Quantize, SymmetricCompressedTensorsHaveNoZeroPoints) {
  QuantizeOptions o = options("out");
  o.search = Search::kNone;
  o.config.version = Layout::kCompressedTensorsSym;
  expect_error(o, ErrorKind::kUsage, "compressed-tensors-sym holds no zero points: add --sym");
  o.config.version = Layout::kCompressedTensors;
  o.config.zero_point = false;
  quantize(o);
  const io::Checkpoint checkpoint(o.out);
  EXPECT_TRUE(checkpoint.has("model.layers.0.mlp.up_proj.weight_packed"));
  EXPECT_FALSE(checkpoint.has("model.layers.0.mlp.up_proj.weight_zero_point"));
  const auto config = nlohmann::json::parse(checkpoint.config_text());
  EXPECT_EQ(config["quantization_config"]["config_groups"]["group_0"]["weights"]["symmetric"], true);
}

TEST_F(Quantize, ModeloptComesWithItsFile) {
  QuantizeOptions o = options("out");
  o.search = Search::kNone;
  o.config.version = Layout::kModelopt;
  expect_error(o, ErrorKind::kUsage, "modelopt holds no zero points: add --sym");
  o.config.zero_point = false;
  o.config.group_size = -1;
  expect_error(o, ErrorKind::kUsage, "modelopt cannot say one group a row");
  o.config.group_size = 64;
  o.config.modules_to_not_convert = {"layers.0.mlp"};
  quantize(o);
  const auto file = nlohmann::json::parse(content_of(o.out / "hf_quant_config.json"));
  EXPECT_EQ(file["quantization"]["group_size"], 64);
  EXPECT_EQ(file["quantization"]["exclude_modules"].back(), "*layers.0.mlp*");
  EXPECT_EQ(Model::load(o.out.string(), {}).logits(std::vector<int32_t>{1, 2, 3}).size(), 3u * 4096);
}

// Qwen2's q, k and v have a bias: packed linears keep it, scaled with what is folded into them.
TEST_F(Quantize, BiasesOfPackedLinearsAreWrittenOnce) {
  const io::Checkpoint demo(kDemo);
  test::TensorFile file;
  for (const std::string& name : demo.names()) {
    file.add(name, Dtype::kF32, demo.info(name).shape, demo.read_f32(name));
    for (const char* linear : {"q_proj", "k_proj", "v_proj"})
      if (const size_t at = name.find(std::string(linear) + ".weight"); at != std::string::npos) {
        const int64_t n = demo.info(name).shape[0];
        std::vector<float> bias(n);
        for (int64_t i = 0; i < n; ++i) bias[i] = static_cast<float>(i % 16) / 16;
        file.add(name.substr(0, at) + linear + ".bias", Dtype::kF32, {n}, bias);
      }
  }
  const fs::path model = folder_ / "qwen2";
  fs::create_directories(model);
  for (const auto& entry : fs::directory_iterator(kDemo)) fs::copy(entry.path(), model / entry.path().filename());
  fs::remove(model / "model.safetensors");
  file.write(model / "model.safetensors");
  io::write_file(model / "config.json",
                 io::with_member(demo.config_text(), "architectures", R"(["Qwen2ForCausalLM"])"));
  QuantizeOptions o = options("out");
  o.model = model;
  o.search = Search::kNone;
  for (const Layout layout : {Layout::kGemm, Layout::kCompressedTensors}) {
    o.config.version = layout;
    o.force = true;
    quantize(o);
    const io::Checkpoint checkpoint(o.out);
    const std::vector<float> bias = checkpoint.read_f32("model.layers.3.self_attn.k_proj.bias");
    for (size_t i = 0; i < bias.size(); ++i) ASSERT_EQ(bias[i], static_cast<float>(i % 16) / 16);
    EXPECT_EQ(Model::load(o.out.string(), {}).logits(std::vector<int32_t>{1, 2, 3}).size(), 3u * 4096);
  }
}

TEST_F(Quantize, DryRunWritesNothing) {
  QuantizeOptions o = options("dry");
  o.dry_run = true;
  const QuantizeReport report = quantize(o);
  EXPECT_GT(report.planned_memory_bytes, 0u);
  EXPECT_GT(report.seconds, 0);
  EXPECT_GT(report.bytes_out, 1u << 20);
  EXPECT_EQ(contents(folder_).size(), 1u);  // text.txt
}

TEST_F(Quantize, RefusesOutputsThatWouldLoseSomething) {
  QuantizeOptions o = options("taken");
  fs::create_directories(o.out);
  std::ofstream(o.out / "precious.txt") << "keep me";
  expect_error(o, ErrorKind::kExists, "not a checkpoint");  // --force would not help: it replaces checkpoints only
  o.force = true;
  expect_error(o, ErrorKind::kExists, "not a checkpoint");
  EXPECT_EQ(content_of(o.out / "precious.txt"), "keep me");
  std::ofstream(o.out / "config.json") << "{}";
  o.force = false;
  expect_error(o, ErrorKind::kExists, "--force");
  o.force = true;
  quantize(o);
  EXPECT_FALSE(fs::exists(o.out / "precious.txt"));
  o.force = false;
  o.out = fs::path(kDemo) / "inside";
  expect_error(o, ErrorKind::kUsage, "inside");
  o.out = kDemo;
  EXPECT_THROW(quantize(o), Error);
}

TEST_F(Quantize, RefusesBadTextAndOptions) {
  QuantizeOptions o = options("bad");
  std::ofstream(folder_ / "empty.txt");
  o.calib = {{(folder_ / "empty.txt").string(), "text"}};
  expect_error(o, ErrorKind::kBadInput, "no text");
  std::ofstream(folder_ / "short.txt") << "Too short.";
  o.calib = {{(folder_ / "short.txt").string(), "text"}};
  expect_error(o, ErrorKind::kBadInput, "one window needs 64");
  o = options("bad");
  o.config.group_size = 100;
  expect_error(o, ErrorKind::kUsage, "32, 64, 128");
  o = options("bad");
  o.keep_fp16 = 0.5;
  expect_error(o, ErrorKind::kUsage, "0.1 % to 3 %");
  o = options("bad");
  o.config.modules_to_not_convert = {"proj"};
  expect_error(o, ErrorKind::kUsage, "nothing would be quantized");
}

// A copy of the demo model, each tensor passed through `edit` as bf16 words.
void copy_with(const fs::path& to, const std::function<void(const std::string& name, std::vector<bf16_t>&)>& edit) {
  const io::Checkpoint source(kDemo);
  fs::create_directories(to);
  for (const char* file : {"config.json", "tokenizer.json", "tokenizer_config.json"})
    fs::copy_file(fs::path(kDemo) / file, to / file);
  std::vector<io::TensorSpec> specs;
  for (const std::string& name : source.names())
    specs.push_back({name, source.info(name).dtype, source.info(name).shape});
  io::SafetensorsWriter writer(to / "model.safetensors", specs);
  for (const io::TensorSpec& spec : specs) {
    std::vector<bf16_t> data(spec.bytes() / 2);
    source.read_bytes(spec.name, std::as_writable_bytes(std::span(data)));
    edit(spec.name, data);
    writer.write(std::as_bytes(std::span(data)));
  }
  writer.commit();
}

TEST_F(Quantize, NamesATensorThatIsNotFinite) {
  copy_with(folder_ / "nan", [](const std::string& name, auto& w) {
    if (name == "model.layers.4.mlp.up_proj.weight") w[7] = 0x7fc0, w[9] = 0x7f80;
  });
  QuantizeOptions o = options("bad");
  o.model = folder_ / "nan";
  expect_error(o, ErrorKind::kBadInput,
               "model.layers.4.mlp.up_proj.weight' holds 2 values that are not finite, the first at element 7");
}

TEST_F(Quantize, NamesWeightsThatFp16CannotHold) {
  copy_with(folder_ / "huge", [](const std::string& name, auto& w) {
    if (name == "model.layers.2.mlp.up_proj.weight") w[5] = f32_to_bf16(4e37f);
  });
  QuantizeOptions o = options("bad");
  o.model = folder_ / "huge";
  expect_error(o, ErrorKind::kBadInput,
               "model.layers.2.mlp.up_proj.weight: a group of weights spans more than fp16 scales can hold");
  o.config.modules_to_not_convert = {"layers.2.mlp.up_proj"};
  o.force = true;
  expect_error(o, ErrorKind::kBadInput, "model.layers.2.mlp.up_proj.weight[5] = ");
}

// The input of down_proj is about 1e20, its square overflows float32: the Gram matrix holds infinities, no candidate
// has a finite loss. The layer is written by plain rounding and named; the others go on.
TEST_F(Quantize, NonFiniteActivationsFallBackAndAreReported) {
  copy_with(folder_ / "inf", [](const std::string& name, auto& w) {
    const bool norm = name == "model.layers.2.post_attention_layernorm.weight";
    if (norm || name == "model.layers.2.mlp.gate_proj.weight" || name == "model.layers.2.mlp.up_proj.weight")
      for (auto& x : w) x = static_cast<bf16_t>((x & 0x8000) | f32_to_bf16(norm ? 8192.f : 57344.f));
  });
  QuantizeOptions o = options("out");
  o.model = folder_ / "inf";
  const QuantizeReport report = quantize(o);
  EXPECT_THAT(report.warnings,
              testing::Contains(HasSubstr("model.layers.2.mlp.down_proj: no candidate had a finite loss")));
  EXPECT_TRUE(fs::exists(o.out / "config.json"));
  for (const LinearReport& l : report.linears)
    if (l.name.starts_with("model.layers.1.")) {
      EXPECT_EQ(l.warning, "") << l.name;
    }
}

TEST_F(Quantize, DeadChannelsAreCounted) {
  copy_with(folder_ / "dead", [](const std::string& name, auto& w) {
    if (name == "model.layers.1.post_attention_layernorm.weight") w[3] = w[200] = 0;
  });
  QuantizeOptions o = options("out");
  o.model = folder_ / "dead";
  for (const LinearReport& l : quantize(o).linears)
    EXPECT_EQ(l.dead_channels,
              l.name == "model.layers.1.mlp.gate_proj" || l.name == "model.layers.1.mlp.up_proj" ? 2 : 0)
        << l.name;
}

}  // namespace
}  // namespace awq
