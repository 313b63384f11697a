// Words for what went wrong in an emulated kernel.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/emulated/grid.h"

namespace awq::emulated {

std::string where(const Block&);
std::string where(const Thread&);

// Who waits on what, once nobody can go on.
std::string deadlock_report(const std::vector<std::unique_ptr<Cluster>>& resident);

}  // namespace awq::emulated
