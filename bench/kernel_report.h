// How kernel rows are written down: CSV for bench/results, JSON, and a table for a terminal.
#pragma once
#include <iosfwd>
#include <string>

#include "kernels_cpu.h"

namespace awq::bench {

void write_table(const KernelBenchReport&, std::ostream&);
void write_json(const KernelBenchReport&, std::ostream&);

// `target` is a file, or a folder in which the file is named after the CPU; returns the file. Throws Error.
std::string write_csv(const KernelBenchReport&, const std::string& target);

}  // namespace awq::bench
