#include "io/checkpoint.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "core/half.h"
#include "io/safetensors_builder.h"
#include "scratch.h"

namespace awq::io {
namespace {

namespace fs = std::filesystem;
using test::entry;
using test::refusal;
using test::safetensors;
using test::ScratchFolder;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string one_tensor(std::string_view name) { return safetensors("{" + entry(name, "U8", "2", 0, 2) + "}", "xy"); }

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() { folder_.put("config.json", "{}"); }
  void index(std::string_view weight_map, std::string_view metadata = R"({"total_size":4})") {
    folder_.put("model.safetensors.index.json",
                R"({"metadata":)" + std::string(metadata) + R"(,"weight_map":{)" + std::string(weight_map) + "}}");
  }
  // Two shards and their index, all in order; the tests then break one thing.
  void two_shards() {
    folder_.put("m-1.safetensors", one_tensor("a"));
    folder_.put("m-2.safetensors", one_tensor("b"));
    index(R"("a":"m-1.safetensors","b":"m-2.safetensors")");
  }
  std::string why() {
    return refusal([&] { Checkpoint{folder_.path()}; });
  }
  std::vector<std::string> warnings() { return Checkpoint(folder_.path()).warnings(); }

  ScratchFolder folder_;
};

TEST_F(CheckpointTest, OneFile) {
  folder_.put("model.safetensors", one_tensor("a"));
  const Checkpoint c(folder_.path());
  EXPECT_EQ(c.config_text(), "{}");
  EXPECT_TRUE(c.has("a"));
  EXPECT_FALSE(c.has("b"));
  EXPECT_THAT(c.names(), ElementsAre("a"));
  EXPECT_EQ(c.total_bytes(), 2u);
  EXPECT_THAT(c.warnings(), IsEmpty());
  std::string raw(2, ' ');
  c.read_bytes("a", std::as_writable_bytes(std::span(raw)));
  EXPECT_EQ(raw, "xy");
  EXPECT_THAT(refusal([&] { c.info("b"); }), HasSubstr("holds no tensor 'b'"));
}

TEST_F(CheckpointTest, Shards) {
  two_shards();
  const Checkpoint c(folder_.path());
  EXPECT_THAT(c.names(), ElementsAre("a", "b"));
  EXPECT_THAT(c.warnings(), IsEmpty());
}

// IX1
TEST_F(CheckpointTest, ShardNamesArePlain) {
  for (const std::string& name :
       {std::string("/etc/x.safetensors"), std::string("../x.safetensors"), std::string("a/x.safetensors"),
        std::string(R"(a\\x.safetensors)"), std::string("."), std::string(".."), std::string(""),
        std::string(R"(a\u0000.safetensors)"), std::string(5000, 'x') + ".safetensors", std::string("model.bin")}) {
    index("\"a\":\"" + name + "\"");
    EXPECT_THAT(why(), HasSubstr("a shard must be a plain file name that ends in .safetensors")) << name.substr(0, 30);
  }
  index(R"("a":1)");
  EXPECT_THAT(why(), HasSubstr("tensor 'a' into something that is not a name"));
  index("");
  EXPECT_THAT(why(), HasSubstr("has no weight_map"));
  folder_.put("model.safetensors.index.json", R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})");
  EXPECT_THAT(why(), HasSubstr("'a' twice"));
}

// IX2
TEST_F(CheckpointTest, SymlinksStayInTheCacheLayout) {
  const ScratchFolder cache;
  cache.put("models--o--n/blobs/config", "{}");
  cache.put("models--o--n/blobs/weights", one_tensor("a"));
  const fs::path snapshot = cache / "models--o--n/snapshots/0123";
  fs::create_directories(snapshot);
  fs::create_symlink("../../blobs/config", snapshot / "config.json");
  fs::create_symlink("../../blobs/weights", snapshot / "model.safetensors");
  EXPECT_TRUE(Checkpoint(snapshot).has("a"));
  const ScratchFolder elsewhere;
  fs::create_directory_symlink(snapshot, elsewhere / "link");
  EXPECT_TRUE(Checkpoint(elsewhere / "link").has("a"));
}

TEST_F(CheckpointTest, OtherSymlinksAreRefused) {
  const ScratchFolder elsewhere;
  const fs::path link = folder_ / "model.safetensors";
  fs::create_symlink(elsewhere.put("w", one_tensor("a")), link);
  EXPECT_THAT(why(), HasSubstr("outside of the checkpoint; copy the file there"));
  fs::remove(link);
  fs::create_symlink("nowhere", link);
  EXPECT_THAT(why(), HasSubstr("leads nowhere"));
  fs::remove(link);
  fs::create_symlink("model.safetensors", link);
  EXPECT_THAT(why(), HasSubstr("leads nowhere"));
  fs::remove(link);
  ASSERT_EQ(mkfifo(link.c_str(), 0600), 0);
  EXPECT_THAT(why(), HasSubstr("not a regular file"));
  fs::remove(link);
  fs::create_directory(link);
  EXPECT_THAT(why(), HasSubstr("not a regular file"));
}

// IX3
TEST_F(CheckpointTest, EveryShardMustBeThere) {
  two_shards();
  fs::remove(folder_ / "m-2.safetensors");
  EXPECT_THAT(why(), AllOf(HasSubstr("1 of 2 shards are missing"), HasSubstr("'m-2.safetensors'"),
                           HasSubstr("; download it again")));
}

// HC1: a download that was broken off
TEST_F(CheckpointTest, AnIncompleteSnapshotComesWithTheCommand) {
  two_shards();
  const ScratchFolder cache;
  const fs::path snapshot = cache / "models--o--n/snapshots/0123";
  fs::create_directories(snapshot);
  for (const char* name : {"config.json", "model.safetensors.index.json", "m-1.safetensors"})
    fs::copy(folder_ / name, snapshot / name);
  EXPECT_THAT(refusal([&] { Checkpoint{snapshot}; }),
              HasSubstr("'m-2.safetensors'; download it again with: hf download o/n --revision 0123"));
}

TEST_F(CheckpointTest, EveryShardIsCheckedOnOpening) {
  two_shards();
  folder_.put("m-2.safetensors", one_tensor("b").substr(0, 50));
  EXPECT_THAT(why(), AllOf(HasSubstr("m-2.safetensors"), HasSubstr("truncated")));
  folder_.put("m-2.safetensors", "");
  EXPECT_THAT(why(), HasSubstr("it has 0 bytes"));
  folder_.put("m-2.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
  EXPECT_THAT(why(), AllOf(HasSubstr("m-2.safetensors"), HasSubstr("run git lfs pull")));
}

TEST_F(CheckpointTest, TheIndexMustAgreeWithTheShards) {
  two_shards();
  index(R"("a":"m-1.safetensors","b":"m-2.safetensors","c":"m-2.safetensors")");
  EXPECT_THAT(why(), HasSubstr("names tensors that its shards do not hold: 'c of m-2.safetensors'"));
  index(R"("a":"m-2.safetensors","b":"m-1.safetensors")");
  EXPECT_THAT(why(), HasSubstr("'a of m-2.safetensors', 'b of m-1.safetensors'"));
  two_shards();
  folder_.put("m-2.safetensors", one_tensor("a"));
  EXPECT_THAT(why(), HasSubstr("tensor 'a' is in two shards"));
}

// IX3, IX4
TEST_F(CheckpointTest, OdditiesAreWarnings) {
  two_shards();
  folder_.put("m-3.safetensors", one_tensor("c"));
  folder_.put("awq_salient.safetensors", one_tensor("c"));
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("'m-3.safetensors' belongs to no index")));
  fs::remove(folder_ / "m-3.safetensors");
  folder_.put("model.safetensors", one_tensor("a"));
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("the index is used")));
  fs::remove(folder_ / "model.safetensors");
  index(R"("a":"m-1.safetensors","b":"m-2.safetensors")", R"({"total_size":5})");
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("total_size 5, the tensors have 4 bytes")));
}

// IX5
TEST_F(CheckpointTest, OtherFormatsAreNamed) {
  EXPECT_THAT(why(), HasSubstr("holds neither model.safetensors nor model.safetensors.index.json"));
  folder_.put("q.gguf", "GGUF");
  EXPECT_THAT(why(), HasSubstr("GGUF files are not read"));
  folder_.put("pytorch_model.bin", "x");
  EXPECT_THAT(why(),
              HasSubstr("only 'pytorch_model.bin': pickle files can run code and are not read; convert them with"));
  folder_.put("model-00001-of-00002.safetensors", one_tensor("a"));
  EXPECT_THAT(why(), HasSubstr("the index is missing"));
}

// CF1, DR1
TEST_F(CheckpointTest, ConfigMustBeThereAndSmall) {
  folder_.put("model.safetensors", one_tensor("a"));
  fs::remove(folder_ / "config.json");
  EXPECT_THAT(why(), HasSubstr("has no config.json"));
  folder_.put("config.json", "");
  fs::resize_file(folder_ / "config.json", 500'000'000);  // a hole: takes no disk
  EXPECT_THAT(why(), HasSubstr("has 500000000 bytes, more than"));
  EXPECT_THAT(refusal([&] { Checkpoint(folder_ / "config.json"); }), HasSubstr("is not a folder"));
  EXPECT_THAT(refusal([&] { Checkpoint(folder_ / "absent"); }), HasSubstr("is not a folder"));
}

std::string bytes_of(const auto& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof values[0]};
}

TEST_F(CheckpointTest, ReadsRowsAsFloat) {
  std::vector<float> want;
  for (int i = 0; i < 12; ++i) want.push_back(static_cast<float>(i) * 0.25f - 1);
  std::vector<uint16_t> f16, bf16;
  for (const float f : want) f16.push_back(f32_to_f16(f)), bf16.push_back(f32_to_bf16(f));
  const std::vector<double> f64(want.begin(), want.end());
  folder_.put("model.safetensors",
              safetensors("{" + entry("odd", "U8", "1", 0, 1) + "," + entry("F16", "F16", "4,3", 1, 25) + "," +
                              entry("BF16", "BF16", "4,3", 25, 49) + "," + entry("F32", "F32", "4,3", 49, 97) + "," +
                              entry("F64", "F64", "4,3", 97, 193) + "}",
                          "x" + bytes_of(f16) + bytes_of(bf16) + bytes_of(want) + bytes_of(f64)));
  const Checkpoint c(folder_.path());
  for (const char* name : {"F16", "BF16", "F32", "F64"}) {
    EXPECT_EQ(c.read_f32(name), want) << name;
    std::vector<float> two(6);
    c.read_f32(name, 1, 2, two);
    EXPECT_EQ(two, std::vector<float>(want.begin() + 3, want.begin() + 9)) << name;
    refusal([&] { c.read_f32(name, 3, 2, two); }, ErrorKind::kFailure);
  }
  EXPECT_THAT(refusal([&] { c.read_f32("odd"); }),
              HasSubstr("tensor 'odd' has dtype 'U8'; F32, F16, BF16 and F64 are read"));
}

// Longer than one piece of the conversion, and not a multiple of it.
TEST_F(CheckpointTest, ReadsLongTensors) {
  std::vector<uint16_t> values(1'000'003);
  for (size_t i = 0; i < values.size(); ++i) values[i] = f32_to_bf16(static_cast<float>(i % 251));
  folder_.put("model.safetensors",
              safetensors("{" + entry("v", "BF16", "1000003", 0, 2'000'006) + "}", bytes_of(values)));
  const std::vector<float> out = Checkpoint(folder_.path()).read_f32("v");
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], static_cast<float>(i % 251)) << i;
}

// ST8: an unknown type with a shape that lies must not become an allocation.
TEST_F(CheckpointTest, UnknownTypesAreRefusedWhenNeeded) {
  folder_.put("model.safetensors",
              safetensors("{" + entry("a", "X9", "9223372036854775807", 0, 2) + "," + entry("b", "U8", "1", 2, 3) + "}",
                          "xyz"));
  const Checkpoint c(folder_.path());
  EXPECT_THAT(refusal([&] { c.read_f32("a"); }), HasSubstr("has dtype 'X9'"));
}

TEST_F(CheckpointTest, FingerprintsTellModelsApart) {
  folder_.put("model.safetensors", one_tensor("a"));
  const std::string first = Checkpoint(folder_.path()).fingerprint();
  EXPECT_EQ(first.size(), 32u);
  EXPECT_EQ(Checkpoint(folder_.path()).fingerprint(), first);
  folder_.put("config.json", "{ }");
  EXPECT_NE(Checkpoint(folder_.path()).fingerprint(), first);
  folder_.put("config.json", "{}");
  folder_.put("model.safetensors", one_tensor("b"));
  EXPECT_NE(Checkpoint(folder_.path()).fingerprint(), first);
}

}  // namespace
}  // namespace awq::io
