// What Split does with its matches.
#pragma once
#include <string_view>
#include <vector>

#include "io/tokenizer/text_pattern.h"

namespace awq::io {

// Segments that cover a text -> the pieces of it that remain, in order.
using SplitBehavior = std::vector<Segment> (*)(const std::vector<Segment>&);

SplitBehavior split_behavior(std::string_view name);  // Error(kBadInput) for an unknown name

}  // namespace awq::io
