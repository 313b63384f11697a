# One interface target carries the flags of our own code; nothing is set globally.
add_library(awq_flags INTERFACE)
target_compile_features(awq_flags INTERFACE cxx_std_20)
# For C++ only: the CUDA plugin's targets link this too, and nvcc has its own words (src/backend/cuda/CMakeLists.txt).
target_compile_options(awq_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:
  -Wall -Wextra -Wpedantic -Wshadow
  # A fused multiply-add where the source says two roundings would make results depend on the instruction set.
  -ffp-contract=off
  # GCC 12 sees an overlap in "literal" + std::string that is not there (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # A wheel is the same bytes wherever it is built: errors remember the source file that threw them.
  $<$<BOOL:${SKBUILD}>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}/=>
  $<$<BOOL:${AWQ_WERROR}>:-Werror>>)
if(AWQ_SANITIZE)
  target_compile_options(awq_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer>)
  target_link_options(awq_flags INTERFACE -fsanitize=address,undefined)
endif()
