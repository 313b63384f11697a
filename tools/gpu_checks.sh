#!/bin/bash
# Everything that needs a GPU to be checked. Built where the packages are, run where the GPU is, possibly elsewhere:
#
#   tools/gpu_checks.sh build [DIR]   the tests of the kernels three times: of the usual architectures, of PTX for 7.5, of PTX for
#                                     8.0; those of whole models and of quantizing; awq; and the example. DIR is
#                                     build/gpu_checks; what `run` needs beside this checkout is in DIR/bin
#   tools/gpu_checks.sh run [DIR]     runs them; compute-sanitizer and cuobjdump too, where the toolkit has them
#
# The PTX builds make a new GPU run the kernels of old ones: the driver compiles them, and selection goes by what was built.
# AWQ_CUDA_ARCHITECTURES in the environment replaces the first program's list (90a alone builds in a minute).
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/gpu_common.sh
what=${1:-}
dir=${2:-build/gpu_checks}
bin=$dir/bin

build_one() {  # NAME ARCHITECTURES TARGET...
  configure "$dir/$1" ${2:+"-DAWQ_CUDA_ARCHITECTURES=$2"}
  cmake --build "$dir/$1" --target "${@:3}" -j "$(nproc)"
  cp "$dir/$1/tests/backend/cuda/gpu/tests_cuda" "$bin/tests_cuda_$1"
}
failed=0
step() {  # WORDS COMMAND...
  printf '\n== %s\n' "$1"
  shift
  "$@" || { failed=1; echo "FAILED: $*"; }
}
last_lines() {  # of the command's output; all that it complains of when it fails
  if "$@" >"$bin/log" 2>&1; then
    tail -n 6 "$bin/log"
  else
    grep -a -i -E -A 6 'failure|error|hazard' "$bin/log" | head -n 80 || true
    tail -n 12 "$bin/log"
    return 1
  fi
}

case $what in
  build)
    mkdir -p "$bin"
    build_one native "${AWQ_CUDA_ARCHITECTURES:-}" tests_cuda tests_cuda_models tests_cuda_quant awq_cli embed
    build_one ptx75 75-virtual tests_cuda
    build_one ptx80 80-virtual tests_cuda
    cp tools/check_sass.py "$dir/native/libawq_cuda.so" "$dir/native/examples/embed/embed" "$bin"
    copy_with_libraries "$dir/native/awq" "$dir/native/tests/backend/cuda/gpu/"{tests_cuda_models,tests_cuda_quant}
    ;;
  run)
    bin=$(realpath "$bin")
    use_programs
    export AWQ_TEST_SOURCE_DIR=$PWD
    for name in models quant; do step "tests, $name" last_lines "$bin/tests_cuda_$name" --gtest_brief=1; done
    for name in native ptx75 ptx80; do step "tests, $name" last_lines "$bin/tests_cuda_$name" --gtest_brief=1; done
    step "the example of embedding" "$bin/embed"
    if command -v compute-sanitizer >/dev/null; then
      for tool in memcheck racecheck; do
        for name in native ptx75; do
          step "compute-sanitizer $tool, $name" last_lines \
            compute-sanitizer --tool "$tool" --error-exitcode 1 "$bin/tests_cuda_$name" --gtest_filter='*EachRow.WritesNothingElse*:Weights.*' --gtest_brief=1
        done
      done
      made=$(mktemp -d)
      memcheck="compute-sanitizer --tool memcheck --error-exitcode 1"
      step "memcheck, a model quantized" last_lines $memcheck "$bin/awq" quantize models/demo "$made/awq" --device cuda --samples 4 --seqlen 128
      step "memcheck, a model run" last_lines $memcheck "$bin/awq" generate "$made/awq" --device cuda --prompt "The " --max-new-tokens 8
      rm -r "$made"
    else
      echo "no compute-sanitizer here: memcheck and racecheck left out"
    fi
    if command -v cuobjdump >/dev/null; then step "machine code" "$bin/check_sass.py" "$bin/tests_cuda_native"; fi
    exit "$failed"
    ;;
  *)
    echo "usage: $0 build|run [DIR]" >&2
    exit 2
    ;;
esac
