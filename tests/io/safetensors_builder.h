// Safetensors files made from text, right or wrong as the test wants them.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace awq::test {

inline std::string safetensors(uint64_t announced_length, std::string_view header, std::string_view data) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &announced_length, 8);
  return file.append(header).append(data);
}
inline std::string safetensors(std::string_view header, std::string_view data = "") {
  return safetensors(header.size(), header, data);
}

// One header entry, without braces around it.
inline std::string entry(std::string_view name, std::string_view dtype, std::string_view shape, uint64_t begin,
                         uint64_t end) {
  return "\"" + std::string(name) + "\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":[" + std::string(shape) +
         "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

}  // namespace awq::test
