// The normalization forms of Unicode as the PyPI package has them: by Unicode 9.0, so that newer characters pass.
#pragma once
#include <string>
#include <string_view>

namespace awq::io {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

std::string to_form(UnicodeForm form, std::string_view text);

}  // namespace awq::io
