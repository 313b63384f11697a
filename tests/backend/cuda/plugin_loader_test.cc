// The loader against plugins that are missing, broken, foreign, of another version, and one that is right.
#include "backend/cuda/plugin_loader.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "awq/error.h"
#include "scratch.h"

namespace awq::backend::cuda {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

fs::path fake(const std::string& kind) { return fs::path(FAKE_PLUGINS) / ("libfake_plugin_" + kind + ".so"); }

template <class Open>
std::string refusal_of(const Open& open) {
  try {
    open();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kDevice) << e.what();
    return e.what();
  }
  return "accepted";
}

std::string refusal_of(const fs::path& file) {
  return refusal_of([&] { open_plugin(file); });
}

TEST(PluginLoader, OpensTheRightOne) {
  const Plugin& plugin = open_plugin(fake("good"));
  EXPECT_EQ(&plugin, &open_plugin(fake("good")));
}

TEST(PluginLoader, AnErrorOfThePluginArrivesAsOne) {
  DeviceInfo device;
  device.name = "GPU";
  try {
    open_plugin(fake("good")).open_lab(device);
    FAIL() << "the fake always throws";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kNoRoom);
    EXPECT_STREQ(e.what(), "no room on GPU");
  }
}

TEST(PluginLoader, RefusesAnotherVersion) {
  EXPECT_THAT(refusal_of(fake("other_abi")),
              AllOf(HasSubstr("libfake_plugin_other_abi.so has plugin interface 999, "),
                    HasSubstr("this program needs " + std::to_string(kPluginAbi)), HasSubstr("of the same build")));
}

TEST(PluginLoader, RefusesALibraryThatIsNoPlugin) {
  EXPECT_THAT(refusal_of(fake("without_abi")),
              HasSubstr("is not the CUDA plugin of awq: it has no awq_cuda_plugin_abi"));
}

TEST(PluginLoader, RefusesOneThatOffersNothing) {
  EXPECT_THAT(refusal_of(fake("null")), HasSubstr("offers no plugin"));
}

TEST(PluginLoader, NamesASymbolThatIsMissing) {
  EXPECT_THAT(refusal_of(fake("unresolved")),
              AllOf(HasSubstr("cannot load the CUDA plugin"), HasSubstr("awq_symbol_of_another_version")));
}

TEST(PluginLoader, RefusesAFileThatIsNoLibrary) {
  const test::ScratchFolder folder;
  const fs::path text = folder / "libawq_cuda.so", empty = folder / "empty.so";
  std::ofstream(text) << "not a library, but long enough to hold the header of one: sixty-four bytes and more";
  std::ofstream(empty).flush();
  EXPECT_THAT(refusal_of(text), AllOf(HasSubstr("cannot load the CUDA plugin"), HasSubstr(text.string())));
  EXPECT_THAT(refusal_of(empty), HasSubstr("file too short"));
  EXPECT_THAT(refusal_of(folder.path()), HasSubstr("cannot load the CUDA plugin")) << "a folder";
}

TEST(PluginSearch, MissingEverywhereListsThePlaces) {
  const test::ScratchFolder folder;
  EXPECT_THAT(refusal_of([&] {
                find_and_open_plugin({.named = {}, .folders = {folder.path(), "/no/such/folder"}});
              }),
              AllOf(HasSubstr("the CUDA kernels are not installed: there is no libawq_cuda.so in "),
                    HasSubstr(folder.path().string()), HasSubstr("/no/such/folder"), HasSubstr("-DAWQ_CUDA=ON"),
                    HasSubstr("--device cpu")));
}

TEST(PluginSearch, TheFirstFolderThatHasItCounts) {
  const test::ScratchFolder first, second;
  fs::copy_file(fake("good"), second / "libawq_cuda.so");
  EXPECT_NO_THROW(find_and_open_plugin({.named = {}, .folders = {first.path(), second.path()}}));
  std::ofstream(first / "libawq_cuda.so") << "broken";
  EXPECT_THAT(refusal_of([&] {
                find_and_open_plugin({.named = {}, .folders = {first.path(), second.path()}});
              }),
              HasSubstr((first / "libawq_cuda.so").string()))
      << "a broken installation is reported, not stepped over";
}

TEST(PluginSearch, AFileThatTheUserNamesIsTheOnlyOneTried) {
  const test::ScratchFolder folder;
  fs::copy_file(fake("good"), folder / "libawq_cuda.so");
  EXPECT_THAT(refusal_of([&] { find_and_open_plugin({.named = "/no/such.so", .folders = {folder.path()}}); }),
              AllOf(HasSubstr("AWQ_CUDA_PLUGIN names /no/such.so, which does not exist")));
  EXPECT_NO_THROW(find_and_open_plugin({.named = fake("good"), .folders = {}}));
}

TEST(PluginSearch, BeginsBesideTheProgram) {
  const PluginSearch search = default_plugin_search();
  ASSERT_GE(search.folders.size(), 2u);
  EXPECT_EQ(search.folders[0], fs::canonical("/proc/self/exe").parent_path());
  EXPECT_EQ(search.folders[1], fs::canonical("/proc/self/exe").parent_path().parent_path() / "lib");
}

TEST(PluginSearch, TakesTheNameFromTheEnvironment) {
  setenv("AWQ_CUDA_PLUGIN", "/some/where.so", 1);
  EXPECT_EQ(default_plugin_search().named, "/some/where.so");
  setenv("AWQ_CUDA_PLUGIN", "", 1);
  EXPECT_EQ(default_plugin_search().named, "") << "empty is unset";
  unsetenv("AWQ_CUDA_PLUGIN");
}

}  // namespace
}  // namespace awq::backend::cuda
