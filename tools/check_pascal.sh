#!/bin/sh
# Assembles the kernels that are meant for compute capability 6.0 with the ptxas of CUDA 12, the last that knows Pascal.
# PyPI has that ptxas, but no nvcc of CUDA 12; so the PTX is today's nvcc's for its oldest chip, 7.5, retargeted: what
# passes uses no instruction that Pascal lacks. Needs nvcc; downloads 40 MB once.
set -eu
cd "$(dirname "$0")/.."
command -v nvcc >/dev/null || { echo "skipped: no nvcc on PATH"; exit 77; }
tools=build/ptxas12
if [ ! -x "$tools/bin/ptxas" ]; then
  python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install -q 'nvidia-cuda-nvcc-cu12==12.9.*'
  mkdir -p "$tools/bin"
  cp "$(find "$tools/venv" -name ptxas -type f)" "$tools/bin/ptxas"
  chmod +x "$tools/bin/ptxas"
fi
# shellcheck disable=SC2013  # names without spaces
for source in $(sed -n '/^awq_cuda_objects(awq_cuda_any_kernels/,/)/p' src/backend/cuda/CMakeLists.txt | grep -o 'kernels/[a-z_]*\.cu'); do
  ptx=$tools/$(basename "$source" .cu).ptx
  nvcc -std=c++20 -O3 -I src -I include -ptx -arch=compute_75 "src/backend/cuda/$source" -o "$ptx"
  sed -i 's/^\.version .*/.version 8.0/; s/^\.target sm_75/.target sm_60/' "$ptx"
  "$tools/bin/ptxas" -arch=sm_60 -warn-spills --warning-as-error "$ptx" -o "$tools/cubin"
  echo "$source assembles for 6.0"
done
