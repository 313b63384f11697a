#!/bin/bash
# The Python package's checks that need a GPU. Built where the packages are, run where the GPU is, possibly elsewhere:
#
#   tools/gpu_python_checks.sh build [DIR]   DIR is build/gpu_python_checks; what `run` needs is DIR/bin.tar.xz. PYTHON in the
#                                            environment names the interpreter of the version that runs it there (it needs nanobind),
#                                            and AWQ_CUDA_ARCHITECTURES what to compile for (90a alone builds in a minute)
#   tools/gpu_python_checks.sh run [DIR [NAME...]]
#                                            kernels on arrays of the GPU, the host time of a call, and a model on the GPU, or the
#                                            tests of these names; python3 there needs numpy and pytest, and torch for the parts that
#                                            take tensors
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-}
dir=${2:-build/gpu_python_checks}
bin=$dir/bin
names=("${@:3}")

case $what in
  build)
    python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')
    launcher=$(command -v ccache || true)
    cmake -S . -B "$dir/build" -G Ninja -DAWQ_CUDA=ON -DAWQ_PYTHON=ON -DAWQ_TESTS=OFF -DPython3_EXECUTABLE="$python" \
      ${AWQ_CUDA_ARCHITECTURES:+"-DAWQ_CUDA_ARCHITECTURES=$AWQ_CUDA_ARCHITECTURES"} \
      -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher" -DCMAKE_CUDA_COMPILER_LAUNCHER="$launcher" >/dev/null
    cmake --build "$dir/build" --target awq_python_package -j "$(nproc)"
    rm -rf "$bin"
    mkdir -p "$bin/lib"
    cp -rL "$dir/build/python/awq_cpp" python/autoawq_dropin/awq python/tests models/demo "$bin"
    strip "$bin"/awq_cpp/{_core*.so,awq,libawq_cuda.so}
    # Debian's libraries that the other machine may not have; the C library and the compiler's own are everywhere.
    ldd "$bin"/awq_cpp/{_core*.so,awq} | sed -n 's/.*=> \(.*\) (.*/\1/p' | sort -u |
      grep -E '/lib(fmt|simdjson|dnnl|pcre2-8|utf8proc|zstd|OpenCL|gomp)\.' | xargs -I{} cp -L {} "$bin/lib"
    tar -C "$dir" -c bin | xz -2 -T0 >"$dir/bin.tar.xz"
    ls -l "$dir/bin.tar.xz" "$bin"/awq_cpp/_core*.so
    ;;
  run)
    rm -rf "$bin"
    tar -C "$dir" -xJf "$dir/bin.tar.xz"
    export PYTHONPATH=$bin LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PYTHONDONTWRITEBYTECODE=1
    [ ${#names[@]} -gt 0 ] || names=(gpu kernels devices model dropin)
    files=("${names[@]/#/$bin/tests/test_}")
    python3 -m pytest -q -s -rsfE -p no:cacheprovider --durations=5 "${files[@]/%/.py}"
    ;;
  *)
    echo "usage: $0 build [DIR] | run [DIR [NAME...]]" >&2
    exit 2
    ;;
esac
