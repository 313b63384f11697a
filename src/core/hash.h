// XXH3-128 as hex: recognises data, proves nothing about who made it.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace awq {

std::string hash_hex(std::span<const std::byte>);

class Hasher {  // the same over pieces
 public:
  Hasher();
  ~Hasher();
  void add(std::span<const std::byte>);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace awq
