// encode_driver FOLDER: for each request line on stdin one answer line of JSON on stdout. What the differential test
// (differential.py) talks to.
//
//   {"text": "..."}  ->  {"plain": [ids without special tokens], "special": [ids with them],
//                         "decoded": text of "special", "skipped": the same without its special tokens}
//   {"ids": [...]}   ->  {"decoded": ..., "skipped": ...}
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "awq/error.h"
#include "io/tokenizer/tokenizer.h"

namespace {

nlohmann::json answer(const awq::io::Tokenizer& tokenizer, const nlohmann::json& request) {
  nlohmann::json out;
  std::vector<int32_t> ids;
  if (request.contains("text")) {
    const auto text = request.at("text").get<std::string>();
    out["plain"] = tokenizer.encode(text, false);
    ids = tokenizer.encode(text, true);
    out["special"] = ids;
  } else {
    ids = request.at("ids").get<std::vector<int32_t>>();
  }
  out["decoded"] = tokenizer.decode(ids, false);
  out["skipped"] = tokenizer.decode(ids, true);
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: encode_driver FOLDER < requests\n");
    return 2;
  }
  try {
    const awq::io::Tokenizer tokenizer = awq::io::Tokenizer::load(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer(tokenizer, nlohmann::json::parse(line)).dump() << '\n';
    }
  } catch (const awq::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return static_cast<int>(e.kind());
  }
}
