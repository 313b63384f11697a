#pragma once
#include <string>

namespace awq::cli {

std::string version_text();  // "awq 0.1.0 (commit 1a2b3c4, g++ 12.2.0, x86-64)\n"
const char* version_number();
const char* version_commit();  // "unknown" outside a git checkout

}  // namespace awq::cli
