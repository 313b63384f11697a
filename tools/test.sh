#!/bin/sh
# Installs what is needed, builds everything and runs every test; the last lines are ctest's summary. Arguments go to cmake.
set -eu
cd "$(dirname "$0")/.."
tools/install_packages.sh

# PyPI's tokenizers is the reference of the differential tokenizer test.
[ -x build/venv/bin/python3 ] || python3 -m venv build/venv
build/venv/bin/python3 -c 'import tokenizers' 2>/dev/null || build/venv/bin/pip install -q 'tokenizers==0.22.*'

cmake --preset release "$@" >/dev/null
cmake --build --preset release -j "$(nproc)"
PATH="$PWD/build/venv/bin:$PATH" ctest --preset release -j "$(nproc)"
