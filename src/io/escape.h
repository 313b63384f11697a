// Text from files, made safe to print and to write as JSON.
#pragma once
#include <string>
#include <string_view>

namespace awq::io {

// In single quotes, for messages: control characters and bytes outside ASCII become \xNN, so a name cannot move the
// cursor or reverse the reading direction; names above 200 characters are cut.
std::string printable(std::string_view);

// A JSON string with its quotes. The text must be UTF-8.
std::string json_string(std::string_view);

}  // namespace awq::io
