// Strings of Python for the enumerations of the library, with the names that the command line has.
#pragma once
#include <string>

#include "awq/config.h"

namespace awq::python {

// Error(kUsage) listing the names where there is no such one. Any case.
Layout layout_named(const std::string&);
Search search_named(const std::string&);
Objective objective_named(const std::string&);
SalientBy salient_named(const std::string&);

}  // namespace awq::python
