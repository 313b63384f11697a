// What the reports of all devices share: names, dates, and how a file is written.
#pragma once
#include <string>

namespace awq::bench {

std::string slug(const std::string& name);  // "AMD EPYC 9655 96-Core" -> "amd-epyc-9655-96-core"
std::string today();                        // "2026-11-21", UTC

// `target` is a file, or a folder in which the file is called `name`; returns the file. Throws Error(kFailure).
std::string write_report_file(const std::string& target, const std::string& name, const std::string& text);

}  // namespace awq::bench
