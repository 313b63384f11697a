#!/bin/bash
# The Python package's checks that need a GPU. Built where the packages are, run where the GPU is, possibly elsewhere:
#
#   tools/gpu_python_checks.sh build [DIR]   DIR is build/gpu_python_checks; what `run` needs is DIR/bin.tar.xz. PYTHON in the
#                                            environment names the interpreter whose version runs it there (it needs nanobind), and
#                                            AWQ_CUDA_ARCHITECTURES what to compile for
#   tools/gpu_python_checks.sh run [DIR]     kernels on arrays of the GPU, the host time of a call, and a model on the GPU; python3 there
#                                            needs numpy and pytest, and torch for the parts that take tensors
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-}
dir=${2:-build/gpu_python_checks}
bin=$dir/bin

case $what in
  build)
    python=${PYTHON:-python3}
    cmake -S . -B "$dir/build" -G Ninja -DAWQ_CUDA=ON -DAWQ_PYTHON=ON -DAWQ_TESTS=OFF -DPython3_EXECUTABLE="$(command -v "$python")" \
      ${AWQ_CUDA_ARCHITECTURES:+"-DAWQ_CUDA_ARCHITECTURES=$AWQ_CUDA_ARCHITECTURES"} \
      -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)" -DCMAKE_CUDA_COMPILER_LAUNCHER="$(command -v ccache || true)" >/dev/null
    cmake --build "$dir/build" --target awq_python_package -j "$(nproc)"
    rm -rf "$bin"
    mkdir -p "$bin/lib"
    cp -rL "$dir/build/python/awq_cpp" python/autoawq_dropin/awq python/tests models/demo "$bin"
    cp "$dir/build/libawq_cuda.so" "$bin/awq_cpp"
    # Debian's libraries that the other machine may not have; the C library and the compiler's own are everywhere.
    ldd "$bin"/awq_cpp/_core*.so | sed -n 's/.*=> \(.*\) (.*/\1/p' |
      grep -E '/lib(fmt|simdjson|dnnl|pcre2-8|utf8proc|zstd|OpenCL|gomp)\.' | xargs -I{} cp -L {} "$bin/lib"
    tar -C "$dir" -c bin | xz -2 -T0 >"$dir/bin.tar.xz"
    ;;
  run)
    [ -d "$bin" ] || tar -C "$dir" -xJf "$dir/bin.tar.xz"
    export PYTHONPATH=$bin LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PYTHONDONTWRITEBYTECODE=1
    python3 -m pytest -q -s -rs -p no:cacheprovider "$bin"/tests/test_{gpu,kernels,devices,model,dropin}.py
    ;;
  *)
    echo "usage: $0 build|run [DIR]" >&2
    exit 2
    ;;
esac
