# The CUDA plugin is the only part that needs nvcc; everything else builds and runs without. Sets awq_with_cuda.
set(AWQ_CUDA AUTO CACHE STRING "build libawq_cuda.so: AUTO (when nvcc is found), ON, OFF")
set_property(CACHE AWQ_CUDA PROPERTY STRINGS AUTO ON OFF)
set(awq_with_cuda OFF)
if(AWQ_CUDA STREQUAL "OFF")
  return()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(NOT AWQ_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "AWQ_CUDA=${AWQ_CUDA} needs nvcc: put it on PATH or set CMAKE_CUDA_COMPILER (docs/cuda.md)")
  endif()
  message(STATUS "No nvcc: building without CUDA")
  return()
endif()

# Machine code (-real) of 8.0 runs on all of 8.x, of 10.0 on 10.x, of 12.0 on 12.x; 8.6 and 8.9 have their own because
# they schedule differently. The last entry carries PTX too, which the driver compiles for what comes later.
# CUDA 13's compiler starts at 7.5; Blackwell needs CUDA 12.8.
set(CMAKE_CUDA_ARCHITECTURES OFF)  # no default from CMake: targets name theirs
enable_language(CUDA)
set(architectures 75-real 80-real 86-real 89-real 90)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13)
  list(PREPEND architectures 60-real 70-real)
endif()
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  list(TRANSFORM architectures REPLACE "^90$" "90-real")
  list(APPEND architectures 100-real 120)
endif()
set(AWQ_CUDA_ARCHITECTURES "${architectures}" CACHE STRING
  "compute capabilities to compile for, as in CUDA_ARCHITECTURES; 90a alone is quick to build for a Hopper")
set(awq_with_cuda ON)

# Kernels on tensor cores need 7.5: they are left out of what older chips get.
set(awq_cuda_tensor_architectures ${AWQ_CUDA_ARCHITECTURES})
list(FILTER awq_cuda_tensor_architectures EXCLUDE REGEX "^(5|6|70|72)")
if(NOT awq_cuda_tensor_architectures)
  set(awq_cuda_tensor_architectures 75-virtual)
endif()

# AWQ_CUDA_BUILT_FOR: the same list for built_for.h, {capability, machine code, PTX, this one chip only} an entry.
set(awq_cuda_built_for)
foreach(entry ${AWQ_CUDA_ARCHITECTURES})
  if(NOT entry MATCHES "^([0-9]+)([af]?)(-real|-virtual)?$")
    message(FATAL_ERROR "AWQ_CUDA_ARCHITECTURES: '${entry}' is not like 86, 90a, 80-real or 75-virtual")
  endif()
  set(real 1)
  set(ptx 1)
  set(only 0)
  if(CMAKE_MATCH_3 STREQUAL "-real")
    set(ptx 0)
  elseif(CMAKE_MATCH_3 STREQUAL "-virtual")
    set(real 0)
  endif()
  if(CMAKE_MATCH_2)
    set(only 1)
  endif()
  list(APPEND awq_cuda_built_for "{${CMAKE_MATCH_1},${real},${ptx},${only}}")
endforeach()
list(JOIN awq_cuda_built_for "," awq_cuda_built_for)
