// Size arithmetic on numbers that come from a file: an overflow is an Error, never a wrapped value.
#pragma once
#include <cstdint>

#include "awq/error.h"

namespace awq {

inline uint64_t checked_mul(uint64_t a, uint64_t b, const char* what) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) throw Error(ErrorKind::kBadInput, std::string(what) + " overflows 64 bits");
  return r;
}
inline uint64_t checked_add(uint64_t a, uint64_t b, const char* what) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r)) throw Error(ErrorKind::kBadInput, std::string(what) + " overflows 64 bits");
  return r;
}

// For our own bugs, never for a user's file.
#define AWQ_ASSERT(cond)                                                                               \
  do {                                                                                                 \
    if (!(cond)) throw ::awq::Error(::awq::ErrorKind::kFailure, "internal error: " #cond " is false"); \
  } while (false)

}  // namespace awq
