#include <gmock/gmock.h>

#include <cstdlib>
#include <optional>

#include "io/checkpoint.h"
#include "scratch.h"

namespace awq::io {
namespace {

namespace fs = std::filesystem;
using test::refusal;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";
constexpr const char* kVariables[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"};

// HC1. Each test begins without any of the variables that place the cache, and gives them back.
class HubCacheTest : public testing::Test {
 protected:
  HubCacheTest() {
    for (const char* name : kVariables) {
      const char* value = std::getenv(name);
      before_.push_back(value ? std::optional<std::string>(value) : std::nullopt);
      unsetenv(name);
    }
    setenv("HF_HUB_CACHE", cache_.path().c_str(), 1);
  }
  ~HubCacheTest() override {
    for (size_t i = 0; i < before_.size(); ++i)
      before_[i] ? setenv(kVariables[i], before_[i]->c_str(), 1) : unsetenv(kVariables[i]);
  }
  void cache_model(const std::string& below = "") {
    cache_.put(below + "models--org--name/refs/main", kCommit);
    cache_.put(below + "models--org--name/refs/pr/1", kCommit);
    cache_.put(below + "models--org--name/snapshots/" + kCommit + "/config.json", "{}");
  }
  fs::path snapshot(const std::string& below = "") {
    return cache_ / (below + "models--org--name/snapshots/" + kCommit);
  }
  static std::string why(const std::string& model) {
    return refusal([&] { resolve_model(model); });
  }

  test::ScratchFolder cache_;
  std::vector<std::optional<std::string>> before_;
};

TEST_F(HubCacheTest, AFolderWins) {
  cache_model();
  const test::ScratchFolder work;
  const fs::path here = fs::current_path();
  fs::current_path(work.path());
  EXPECT_EQ(resolve_model("org/name"), snapshot());
  fs::create_directories(work / "org/name");
  EXPECT_EQ(resolve_model("org/name"), "org/name");
  fs::current_path(here);
  EXPECT_THAT(why(work.put("file", "")), HasSubstr("is a file; give the folder"));
}

TEST_F(HubCacheTest, Revisions) {
  cache_model();
  EXPECT_EQ(resolve_model("org/name"), snapshot());
  EXPECT_EQ(resolve_model("org/name@main"), snapshot());
  EXPECT_EQ(resolve_model("hf://org/name@pr/1"), snapshot());
  EXPECT_EQ(resolve_model(std::string("org/name@") + kCommit), snapshot());
  EXPECT_THAT(why("org/name@v2"),
              AllOf(HasSubstr("has no revision 'v2'"), HasSubstr("hf download org/name --revision v2")));
  for (const char* revision : {"../..", "/etc", "a/../b", "", "a b", "-x"})
    EXPECT_THAT(why(std::string("org/name@") + revision), HasSubstr("is not a revision"));
}

TEST_F(HubCacheTest, WhatIsNotCachedComesWithTheCommand) {
  EXPECT_THAT(why("org/name"),
              AllOf(HasSubstr("download it with: hf download org/name"), HasSubstr(cache_.path().c_str())));
  cache_model();
  fs::remove(snapshot() / "config.json");
  EXPECT_THAT(why("org/name"), AllOf(HasSubstr("is only partly in"), HasSubstr("hf download org/name")));
  cache_.put("models--org--name/refs/main", "../../x");
  EXPECT_THAT(why("org/name"), HasSubstr("damaged reference"));
}

TEST_F(HubCacheTest, IdsFollowTheHubsRule) {
  for (const char* id : {"a--b/c", "a/b--c", "a..b/c", "../x", "/abs/x", "a/b/c", "a/../b", "-a/b", "a/b-", "a b/c",
                         "a/b.git", "", "a/", "o/n\x1b"})
    EXPECT_THAT(why(id), HasSubstr("is neither a folder nor a Hugging Face id")) << id;
  EXPECT_THAT(why("o/" + std::string(97, 'n')), HasSubstr("neither"));
  EXPECT_THAT(why("Or_g-1.x/na.me"), HasSubstr("hf download Or_g-1.x/na.me"));
}

TEST_F(HubCacheTest, VariablesInTheirOrder) {
  cache_model("hf/hub/");
  cache_model("xdg/huggingface/hub/");
  cache_model("home/.cache/huggingface/hub/");
  unsetenv("HF_HUB_CACHE");
  setenv("HOME", (cache_ / "home").c_str(), 1);
  EXPECT_EQ(resolve_model("org/name"), snapshot("home/.cache/huggingface/hub/"));
  setenv("XDG_CACHE_HOME", (cache_ / "xdg").c_str(), 1);
  EXPECT_EQ(resolve_model("org/name"), snapshot("xdg/huggingface/hub/"));
  setenv("HF_HOME", (cache_ / "hf").c_str(), 1);
  EXPECT_EQ(resolve_model("org/name"), snapshot("hf/hub/"));
  setenv("HF_HUB_CACHE", "~/.cache/huggingface/hub", 1);
  EXPECT_EQ(resolve_model("org/name"), snapshot("home/.cache/huggingface/hub/"));
}

}  // namespace
}  // namespace awq::io
