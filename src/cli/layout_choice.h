#pragma once
#include <span>

#include "awq/config.h"
#include "cli/args.h"

namespace awq::cli {

std::span<const Choice<Layout>> layout_choices();  // one for each row of format/registry.cc

}  // namespace awq::cli
