#include "io/file.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>

#include "scratch.h"

namespace awq::io {
namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::refusal;
using testing::HasSubstr;

TEST(FileTest, ReadsAtAnOffset) {
  const test::ScratchFolder folder;
  const File file(folder.put("f", "0123456789"));
  EXPECT_EQ(file.size(), 10u);
  std::string out(4, ' ');
  file.read_at(3, std::as_writable_bytes(std::span(out)));
  EXPECT_EQ(out, "3456");
  EXPECT_THAT(refusal([&] { file.read_at(8, std::as_writable_bytes(std::span(out))); }),
              HasSubstr("ends at byte 10, 2 more were expected"));
}

TEST(FileTest, OnlyRegularFiles) {
  const test::ScratchFolder folder;
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  fs::create_directory(folder / "folder");
  fs::create_symlink("loop", folder / "loop");
  EXPECT_THAT(refusal([&] { File(folder / "fifo"); }), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal([&] { File(folder / "folder"); }), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal([] { File("/dev/null"); }), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal([&] { File(folder / "loop"); }), HasSubstr("symbolic links"));
  EXPECT_THAT(refusal([&] { File(folder / "absent\n"); }),
              AllOf(HasSubstr(R"(absent\x0a')"), HasSubstr("No such file")));
  EXPECT_THAT(refusal([&] { File(std::string(5000, 'x')); }), HasSubstr("too long"));
}

TEST(FileTest, WholeFilesHaveALimit) {
  const test::ScratchFolder folder;
  const auto path = folder.put("f", "12345");
  EXPECT_EQ(read_file(path, 5), "12345");
  EXPECT_THAT(refusal([&] { read_file(path, 4); }), HasSubstr("has 5 bytes, more than the 4"));
  const auto pointer = folder.put("p", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
  EXPECT_THAT(refusal([&] { read_file(pointer, 1000); }), HasSubstr("run git lfs pull"));
  EXPECT_THAT(refusal([&] { io::copy_file(pointer, folder / "copy"); }), HasSubstr("run git lfs pull"));
}

TEST(AtomicFileTest, AppearsOnlyWhenCommitted) {
  const test::ScratchFolder folder;
  {
    AtomicFile file(folder / "f");
    file.write("abc");
    EXPECT_FALSE(fs::exists(folder / "f"));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  write_file(folder / "f", "old");
  write_file(folder / "f", "new");
  EXPECT_EQ(content_of(folder / "f"), "new");
  io::copy_file(folder / "f", folder / "g");
  EXPECT_EQ(content_of(folder / "g"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 2);
}

TEST(AtomicFileTest, AFolderThatIsNotThereIsAFailure) {
  const test::ScratchFolder folder;
  EXPECT_THAT(refusal([&] { write_file(folder / "no/f", "x"); }, ErrorKind::kFailure), HasSubstr("cannot write"));
}

// The kernel's limit on file sizes stands in for a full disk: the same path through write() and its error.
TEST(AtomicFileTest, AFullDiskIsNoRoom) {
  const test::ScratchFolder folder;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message = refusal([&] { write_file(folder / "f", std::string(10'000, 'x')); }, ErrorKind::kNoRoom);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message, AllOf(HasSubstr("beyond 4096 bytes"), HasSubstr("free some space")));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(DiskTest, FreeBytesOfAFolder) {
  const test::ScratchFolder folder;
  EXPECT_GT(free_disk_bytes(folder.path()), 0u);
  refusal([&] { free_disk_bytes(folder / "absent"); });
}

}  // namespace
}  // namespace awq::io
