#include "cli/version.h"

#include <fmt/format.h>

#include "cli/build_commit.h"  // written by cmake/write_commit.cmake on each build

namespace awq::cli {

const char* version_number() { return AWQ_VERSION; }
const char* version_commit() { return kBuildCommit; }
std::string version_text() { return fmt::format("awq {} (commit {}, {})\n", AWQ_VERSION, kBuildCommit, AWQ_COMPILER); }

}  // namespace awq::cli
