#!/bin/sh
# Runs each libFuzzer target for so many seconds (60 when not told), two at a time, and fails on a finding.
set -eu
cd "$(dirname "$0")/.."

fuzz_one() {  # TARGET SECONDS
  name=$(basename "$1")
  corpus=build-fuzz/corpus/$name
  seeds=fuzz/seeds/$name
  mkdir -p "$corpus"
  [ -d "$seeds" ] || seeds=$corpus
  if "$1" -max_total_time="$2" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="build-fuzz/$name-" "$corpus" "$seeds" \
      >"build-fuzz/$name.log" 2>&1; then
    echo "$name: no finding; $(grep 'Done [0-9]* runs' "build-fuzz/$name.log" || echo 'ended early')"
  else
    tail -n 40 "build-fuzz/$name.log"
    echo "$name: a finding; the input is build-fuzz/$name-*"
    return 1
  fi
}

if [ "${1:-}" = --one ]; then
  fuzz_one "$2" "$3"
  exit
fi
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc)"
find build-fuzz -type f -name 'fuzz_*' -perm -u+x | sort | xargs -r -P 2 -I TARGET tools/fuzz.sh --one TARGET "${1:-60}"
