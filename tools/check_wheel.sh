#!/bin/bash
# Two wheels of the package, each built from a copy of the commit of its own, must be the same bytes; installed in a clean environment,
# they must quantize, generate, and pass the package's tests. Arguments go to CMake, as -DAWQ_CUDA=OFF; PYTHON in the environment
# names another interpreter.
#
# Without CUDA the copies lie in two places. With it both lie in one: nvcc puts a hash of the source's path into the names of kernels.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
options=()
for define in "$@"; do options+=(-C "cmake.define.${define#-D}"); done

build() {  # PLACE WHEELS
  rm -rf "${scratch:?}/$1"
  git clone -q "$scratch/commit" "$scratch/$1"
  "$python" -m pip wheel -q --no-deps "${options[@]}" -w "$scratch/$2" "$scratch/$1"
}
git clone -q . "$scratch/commit"
another=one
case "$*" in *AWQ_CUDA=OFF*) another=another ;; esac
build one wheel-one
CCACHE_RECACHE=1 build $another wheel-another
sha256sum "$scratch"/wheel-*/*.whl
cmp "$scratch"/wheel-one/*.whl "$scratch"/wheel-another/*.whl
unzip -lq "$scratch"/wheel-one/*.whl | awk '$1 > 100000 || /files$/'
for binary in '_core*.so' awq libawq_cuda.so; do
  if unzip -p "$scratch"/wheel-one/*.whl "awq_cpp/$binary" 2>/dev/null | grep -a -q -F -e "$scratch" -e pip-build-env; then
    echo "$binary holds paths of the machine it was built on" >&2
    exit 1
  fi
done

cd "$scratch/one"
"$python" -m venv "$scratch/venv"
PATH=$scratch/venv/bin:$PATH
pip install -q "$scratch"/wheel-one/*.whl numpy pyarrow pytest transformers
pip install -q --no-deps ./python/autoawq_dropin
awq devices
python - "$scratch/out" <<'PY'
import sys
from awq import AutoAWQForCausalLM
model = AutoAWQForCausalLM.from_pretrained("models/demo")
model.quantize(calib_data="docs/guide.md", max_calib_samples=4, max_calib_seq_len=64)
model.save_quantized(sys.argv[1])
print(AutoAWQForCausalLM.from_quantized(sys.argv[1]).generate([[5, 6, 7]], max_new_tokens=4))
PY
python -m pytest -q -p no:cacheprovider -rsfE python/tests
echo "the same bytes twice; installed in a clean environment it works"
