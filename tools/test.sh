#!/bin/sh
# Installs what is needed, builds everything and runs every test; the last lines are ctest's summary. Arguments go to cmake.
set -eu
cd "$(dirname "$0")/.."
tools/install_packages.sh

# What the differential tests compare with, in the versions that those tests name, and what the Python package is built and
# tested with.
python=$PWD/build/venv/bin/python3
wanted="tokenizers==$(sed -n 's/^PACKAGE = "\([0-9.]*\)".*/\1/p' tests/tokenizer/differential.py) safetensors matplotlib mypy nanobind numpy pyarrow pytest ruff==0.17.6 transformers==5.23.0"
[ -x "$python" ] || python3 -m venv build/venv
# shellcheck disable=SC2086  # a list of words
[ "$(cat build/venv/wanted 2>/dev/null)" = "$wanted" ] || "$python" -m pip install -q $wanted
echo "$wanted" >build/venv/wanted

cmake --preset release -DPython3_EXECUTABLE="$python" -DAWQ_PYTHON=ON "$@" >/dev/null
cmake --build --preset release -j "$(nproc)"
PATH="$PWD/build/venv/bin:$PATH" ctest --preset release -j "$(nproc)"
