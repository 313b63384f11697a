// Options shared by the commands that run a model.
#pragma once
#include <span>

#include "awq/model.h"
#include "cli/args.h"

namespace awq::cli {

void add_load_options(Args&, LoadOptions&);  // --version, --device, --threads, --ignore-salient
void note_kernels(const Args&, const Model&, std::string_view model_name);  // with --verbose: which kernels were chosen

}  // namespace awq::cli
