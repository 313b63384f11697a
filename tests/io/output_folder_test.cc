#include "io/output_folder.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include "awq/error.h"

namespace awq::io {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class OutputFolderTest : public testing::Test {
 protected:
  OutputFolderTest() {
    std::string name = (fs::temp_directory_path() / "awq-output-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
    fs::create_directory(root_ / "in");
    put(root_ / "in/config.json", "{}");
  }
  ~OutputFolderTest() override { fs::remove_all(root_); }

  static void put(const fs::path& p, std::string_view text) { std::ofstream(p) << text; }
  static std::string get(const fs::path& p) {
    std::ifstream in(p);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(root_)) names.push_back(entry.path().filename());
    return names;
  }
  // The message, with the kind checked; the folder must look as before.
  std::string refused(const fs::path& out, const fs::path& in, bool force, ErrorKind kind) {
    const auto before = entries();
    std::string message;
    try {
      OutputFolder folder(out, in, force);
      ADD_FAILURE() << out << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind) << e.what();
      message = e.what();
    }
    EXPECT_THROW(check_output_folder(out, in, force), Error);
    EXPECT_THAT(entries(), testing::UnorderedElementsAreArray(before));
    return message;
  }

  fs::path root_;
};

TEST_F(OutputFolderTest, AppearsOnlyOnCommit) {
  {
    OutputFolder folder(root_ / "out", root_ / "in", false);
    EXPECT_EQ(folder.path().parent_path(), folder.final_path().parent_path());
    put(folder.path() / "config.json", "new");
    fs::create_directory(folder.path() / "sub");
    put(folder.path() / "sub/x", "y");
    EXPECT_FALSE(fs::exists(root_ / "out"));
    folder.commit();
  }
  EXPECT_EQ(get(root_ / "out/config.json"), "new");
  EXPECT_EQ(get(root_ / "out/sub/x"), "y");
  EXPECT_THAT(entries(), UnorderedElementsAre("in", "out"));
}

TEST_F(OutputFolderTest, LeavesNothingWithoutCommit) {
  { put(OutputFolder(root_ / "out", root_ / "in", false).path() / "half", "a"); }
  EXPECT_THAT(entries(), ElementsAre("in"));
}

TEST_F(OutputFolderTest, TrailingSlashAndEmptyFolderAreFine) {
  fs::create_directory(root_ / "out");
  OutputFolder folder(root_ / "out/", root_ / "in", false);
  put(folder.path() / "config.json", "new");
  folder.commit();
  EXPECT_EQ(get(root_ / "out/config.json"), "new");
}

TEST_F(OutputFolderTest, ExistingCheckpointNeedsForce) {
  fs::create_directory(root_ / "out");
  put(root_ / "out/config.json", "old");
  EXPECT_THAT(refused(root_ / "out", root_ / "in", false, ErrorKind::kExists),
              AllOf(HasSubstr("out"), HasSubstr("--force")));
  put(root_ / "out/stays-not", "old");
  OutputFolder folder(root_ / "out", root_ / "in", true);
  put(folder.path() / "config.json", "new");
  EXPECT_EQ(get(root_ / "out/config.json"), "old");
  folder.commit();
  EXPECT_EQ(get(root_ / "out/config.json"), "new");
  EXPECT_FALSE(fs::exists(root_ / "out/stays-not"));
  EXPECT_THAT(entries(), UnorderedElementsAre("in", "out"));
}

TEST_F(OutputFolderTest, ForceTakesOnlyCheckpoints) {
  fs::create_directory(root_ / "home");
  put(root_ / "home/thesis.tex", "years of work");
  EXPECT_THAT(refused(root_ / "home", root_ / "in", true, ErrorKind::kExists), HasSubstr("not a checkpoint"));
  put(root_ / "file", "");
  EXPECT_THAT(refused(root_ / "file", root_ / "in", true, ErrorKind::kExists), HasSubstr("not a folder"));
}

TEST_F(OutputFolderTest, SomethingThatAppearsMeanwhileIsNotReplaced) {
  OutputFolder folder(root_ / "out", root_ / "in", false);
  fs::create_directory(root_ / "out");
  put(root_ / "out/config.json", "of another run");
  EXPECT_THROW(folder.commit(), Error);
  EXPECT_EQ(get(root_ / "out/config.json"), "of another run");
}

TEST_F(OutputFolderTest, OverlapWithTheInputIsRefusedByIdentity) {
  fs::create_directory_symlink(root_ / "in", root_ / "link");
  for (const fs::path& out : {root_ / "in", root_ / "in/sub", root_ / "link", root_ / "link/sub", root_ / "x/../in"})
    EXPECT_THAT(refused(out, root_ / "in", true, ErrorKind::kUsage), HasSubstr("input folder")) << out;
  EXPECT_THAT(refused(root_, root_ / "in", true, ErrorKind::kUsage), HasSubstr("lies inside output"));
  EXPECT_THAT(refused(root_, root_ / "link", true, ErrorKind::kUsage), HasSubstr("lies inside output"));
}

TEST_F(OutputFolderTest, MissingOrReadOnlyParentIsNamed) {
  EXPECT_THAT(refused(root_ / "no/out", root_ / "in", false, ErrorKind::kUsage),
              AllOf(HasSubstr((root_ / "no").string()), HasSubstr("does not exist")));
  fs::create_directory(root_ / "ro");
  fs::permissions(root_ / "ro", fs::perms(0555));
  fs::permissions(root_, fs::perms(0755));
  constexpr uid_t kNobody = 65534;  // root may write to read-only folders, so it steps down for the test
  const bool root = ::geteuid() == 0;
  ASSERT_TRUE(!root || ::seteuid(kNobody) == 0);
  EXPECT_THAT(refused(root_ / "ro/out", root_ / "in", false, ErrorKind::kFailure), HasSubstr((root_ / "ro").string()));
  ASSERT_TRUE(!root || ::seteuid(0) == 0);
}

TEST_F(OutputFolderTest, KilledRunsAreCleanedUpLivingOnesAreNot) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    OutputFolder folder(root_ / "out", root_ / "in", false);
    put(folder.path() / "half", "a");
    [[maybe_unused]] const auto sent = ::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const fs::path partial = root_ / (".out.partial-" + std::to_string(child));
  { OutputFolder second(root_ / "out", root_ / "in", false); }
  EXPECT_TRUE(fs::exists(partial / "half")) << "taken from a living process";
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  EXPECT_TRUE(fs::exists(partial / "half"));
  { OutputFolder third(root_ / "out", root_ / "in", false); }
  EXPECT_FALSE(fs::exists(partial));
}

}  // namespace
}  // namespace awq::io
