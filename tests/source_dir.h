// Where the checkout is, and the models in it and beside it: as it was built, or, for test programs that run on another
// machine, $AWQ_TEST_SOURCE_DIR.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <string>

namespace awq::test {

inline std::filesystem::path source_dir() {
  const char* there = std::getenv("AWQ_TEST_SOURCE_DIR");
  return there != nullptr ? there : AWQ_SOURCE_DIR;
}

inline std::filesystem::path demo_folder() { return source_dir() / "models" / "demo"; }
inline std::filesystem::path shared_folder() { return source_dir() / ".." / "shared"; }
inline std::filesystem::path arch_folder(const std::string& name) { return shared_folder() / "models" / "arch" / name; }

}  // namespace awq::test
