#!/bin/sh
# Installs the Debian 12 packages that building and testing need; with "ci" also those of the gate. Does nothing when they
# are there already, so that it needs neither root nor network then.
set -eu
packages="g++ cmake ninja-build pkg-config git ca-certificates
  libcli11-dev libfmt-dev libsimdjson-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev libdnnl-dev ocl-icd-opencl-dev zlib1g-dev libzstd-dev libxxhash-dev
  libgtest-dev libgmock-dev librapidcheck-dev python3 python3-dev python3-venv"
for group in "$@"; do
  case $group in
    ci) packages="$packages clang-14 clang-format-14 libclang-rt-14-dev llvm-14 libstdc++-12-dev" ;;
    *) echo "usage: $0 [ci]" >&2; exit 2 ;;
  esac
done

missing=
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "these packages are missing and there is no sudo to install them with:$missing" >&2; exit 1; }
  as_root=sudo
fi
echo "installing:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086  # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
