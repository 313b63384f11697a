#!/bin/sh
# Runs each libFuzzer target for so many seconds (60 when not told), two at a time, and fails on a finding.
set -eu
cd "$(dirname "$0")/.."

# A "timeout" whose input runs in no time when tried again was a pause of the machine (libFuzzer measures by the wall
# clock): fuzzing starts over then, three times at most. Any other finding stands.
only_a_pause() {  # TARGET NAME
  for input in "build-fuzz/$2"-timeout-*; do
    [ -f "$input" ] || return 1
    "$1" -timeout=10 "$input" >/dev/null 2>&1 || return 1
    rm "$input"
  done
  [ -z "$(find build-fuzz -maxdepth 1 -name "$2-*-*")" ]
}

fuzz_one() {  # TARGET SECONDS
  name=$(basename "$1")
  corpus=build-fuzz/corpus/$name
  seeds=fuzz/seeds/$name
  mkdir -p "$corpus"
  rm -f "build-fuzz/$name"-*
  [ -d "$seeds" ] || seeds=$corpus
  for _ in 1 2 3; do
    if "$1" -max_total_time="$2" -rss_limit_mb=2048 -timeout=10 -artifact_prefix="build-fuzz/$name-" "$corpus" "$seeds" \
        >"build-fuzz/$name.log" 2>&1; then
      echo "$name: no finding; $(grep -a 'Done [0-9]* runs' "build-fuzz/$name.log" || echo 'ended early')"
      return 0
    fi
    only_a_pause "$1" "$name" || break
    echo "$name: the machine paused; starting over"
  done
  tail -n 40 "build-fuzz/$name.log"
  echo "$name: a finding; the input is build-fuzz/$name-*"
  return 1
}

if [ "${1:-}" = --one ]; then
  fuzz_one "$2" "$3"
  exit
fi
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc)"
find build-fuzz -type f -name 'fuzz_*' -perm -u+x | sort | xargs -r -P 2 -I TARGET tools/fuzz.sh --one TARGET "${1:-60}"
