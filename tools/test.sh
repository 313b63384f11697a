#!/bin/sh
# Installs what is needed, builds everything and runs every test; the last lines are ctest's summary. Arguments go to cmake.
set -eu
cd "$(dirname "$0")/.."
tools/install_packages.sh

# The tokenizer is compared with PyPI's `tokenizers`, in the version that the test names.
python=$PWD/build/venv/bin/python3
version=$(sed -n 's/^PACKAGE = "\([0-9.]*\)".*/\1/p' tests/tokenizer/differential.py)
[ -x "$python" ] || python3 -m venv build/venv
"$python" -c "import tokenizers; assert tokenizers.__version__ == '$version'" 2>/dev/null \
  || "$python" -m pip install -q "tokenizers==$version"

cmake --preset release -DPython3_EXECUTABLE="$python" "$@" >/dev/null
cmake --build --preset release -j "$(nproc)"
ctest --preset release -j "$(nproc)"
