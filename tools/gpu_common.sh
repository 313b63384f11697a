# shellcheck shell=bash disable=SC2154  # sourced; bin is its caller's
# What the checks and the measurements on a GPU share: built where the packages are, run where the GPU is. To be sourced.

configure() {  # FOLDER CMAKE-OPTION...
  local ccache
  ccache=$(command -v ccache || true)
  cmake -S . -B "$1" -G Ninja -DAWQ_CUDA=ON ${ccache:+-DCMAKE_CXX_COMPILER_LAUNCHER=$ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=$ccache} \
    "${@:2}" >/dev/null
}
copy_with_libraries() {  # PROGRAM...: into $bin, what they load beyond the C library into $bin/lib
  mkdir -p "$bin/lib"
  cp "$@" "$bin"
  ldd "$@" | awk '$3 ~ /^\// {print $3}' | sort -u | grep -v -E '/(libc|libm)\.so' | xargs -I{} cp -L {} "$bin/lib"
}
find_file() {  # NAME: its path wherever it is installed, or nothing
  find / \( -path /proc -o -path /sys \) -prune -o -name "$1" -xtype f -print -quit 2>/dev/null
}
use_programs() {  # of $bin: their libraries, the plugin, and cuBLAS where the loader would not find it
  local cublas=
  ldconfig -p | grep -q libcublasLt.so.13 || cublas=$(find_file libcublasLt.so.13)
  export LD_LIBRARY_PATH=$bin/lib:$bin${cublas:+:$(dirname "$cublas")}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export AWQ_CUDA_PLUGIN=$bin/libawq_cuda.so
}
