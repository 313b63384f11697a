// A table for people: columns as wide as their widest cell, numbers to the right.
#pragma once
#include <string>
#include <vector>

namespace awq::cli {

class Table {
 public:
  // A header that starts with '>' aligns its column to the right (and is printed without it).
  explicit Table(std::vector<std::string> headers);
  void row(std::vector<std::string> cells);  // missing cells are empty
  bool empty() const { return rows_.size() == 1; }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the first one holds the headers
  std::vector<bool> right_;
};

}  // namespace awq::cli
