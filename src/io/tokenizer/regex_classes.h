// Character classes of Oniguruma 6.9.10 (Unicode 16.0), written for PCRE2 10.42 (Unicode 14.0): what stands between the
// brackets of a class, with the code points that PCRE2 does not know yet named one by one.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace awq::io {

// By the letter of an escape (s w d h), the name of a POSIX class (punct), or a property (Lu, Han); nullopt when it is
// not supported.
std::optional<std::string> escape_set(char letter);
std::optional<std::string> posix_set(std::string_view name);
std::optional<std::string> property_set(std::string_view name);

}  // namespace awq::io
