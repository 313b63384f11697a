// A quantization of the demo model with little text, in a folder that removes itself.
#pragma once
#include <gtest/gtest.h>

#include <map>

#include "awq/quantize.h"
#include "scratch.h"
#include "source_dir.h"

namespace awq::test {

// name -> content of every file below a folder
inline std::map<std::string, std::string> contents(const std::filesystem::path& folder) {
  std::map<std::string, std::string> all;
  for (const auto& e : std::filesystem::recursive_directory_iterator(folder))
    if (e.is_regular_file()) all[std::filesystem::relative(e.path(), folder).string()] = content_of(e.path());
  return all;
}

class SmallJob : public testing::Test {
 protected:
  SmallJob() {
    std::string text;
    for (int i = 0; i < 400; ++i)
      text += "The river rose " + std::to_string(i) + " times, and every time the old bridge held. ";
    scratch_.put("text.txt", text);
  }
  QuantizeOptions options(const std::string& out) const {
    QuantizeOptions o;
    o.model = demo_folder();
    o.out = folder_ / out;
    o.device = "cpu";
    o.calib = {{(folder_ / "text.txt").string(), "text"}};
    o.samples = 4;
    o.seqlen = 64;
    o.config.group_size = 64;
    o.search = Search::kPaper;
    return o;
  }

  const ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
};

}  // namespace awq::test
