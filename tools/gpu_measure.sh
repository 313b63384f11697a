#!/bin/bash
# The measurements on a GPU that docs/performance.md and README.md speak of. Built where the packages are, run where the GPU is:
#
#   tools/gpu_measure.sh build [DIR]           awq, its plugin, what makes checkpoints and what watches; DIR is build/gpu_measure,
#                                              what `run` needs beside this checkout is DIR/bin.tar.xz
#   tools/gpu_measure.sh run [DIR [STEP...]]   the steps named, or all of the table below in its order, each with a time limit and
#                                              whatever became of those before it; ends with the verdicts. DIR/results has the
#                                              answers and logs, DIR/results.tar.xz all of them in one file
#   tools/gpu_measure.sh verdicts [DIR]        what the results say of each demand
#
# In the environment:
#   AWQ_CUDA_ARCHITECTURES   what to compile for; 90a alone builds in a minute
#   AWQ_MEASURE_SECONDS      no step begins that would end later by its estimate        (3600)
#   AWQ_MEASURE_MODEL        a trained original, for what random weights cannot show    (models/demo)
#   AWQ_MEASURE_TEXT         what to score perplexity on                                (docs/*.md)
#   AWQ_MEASURE_TMP          for checkpoints, up to 40 GB: /dev/shm when that has room, so that no disk is measured, else /tmp
#   AWQ_MEASURE_KEEP         anything: leave them there for the next run
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$0")/.."
. tools/gpu_common.sh
what=${1:-}
dir=${2:-build/gpu_measure}
bin=$dir/bin

# Seconds on an H200 with 16 cores, made checkpoints included: an estimate, and when the step is given up. First what matters most.
STEPS="
# step       estimate  limit
decode8b           35    120
decode7b           30    120
versions8b        150    300
loop               25     90
lose               25     90
kill9              40    120
memory             20     90
quantize7b         45    120
smallcard          30    120
accuracy           60    180
batches            10     60
sanitizer          90    240
quantize8b         45    120
quantize70b        55    150
"

build() {
  configure "$dir/build" -DAWQ_CUDA_TRACE=ON ${AWQ_CUDA_ARCHITECTURES:+"-DAWQ_CUDA_ARCHITECTURES=$AWQ_CUDA_ARCHITECTURES"}
  cmake --build "$dir/build" --target awq_cli awq_cuda make_checkpoint count_cuda_calls lose_device -j "$(nproc)"
  rm -rf "$bin"
  mkdir -p "$bin"
  cp "$dir"/build/{libawq_cuda.so,tools/libcount_cuda_calls.so,tests/backend/cuda/gpu/liblose_device.so} "$bin"
  copy_with_libraries "$dir/build/awq" "$dir/build/tools/make_checkpoint"
  tar -C "$dir" -c bin | xz -2 -T0 >"$dir/bin.tar.xz"
  ls -l "$dir/bin.tar.xz"
}

# ---- what the steps are made of ----

made() {  # NAME OPTION...: the checkpoint of that name, made if it is not there
  [ -d "$tmp/$1" ] || "$bin/make_checkpoint" "${@:2}" "$tmp/$1" 2>/dev/null
}
decode() {  # NAME SHAPE BENCH-OPTION...
  made "$2-awq" --like "$2" --quantized --dtype f16
  "$bin/awq" bench "$tmp/$2-awq" --device cuda --generate 128 "${@:3}" --json --csv "$results/$1.csv" --html "$results/$1.html" \
    >"$results/$1.json"
}
quantize() {  # NAME MODEL OUT OPTION...
  rm -rf "$3"
  tools/gpu_measure/watch_memory.py "$results/$1-memory.json" "$bin/awq" quantize "$2" "$3" --device cuda --progress none \
    --trace "$results/$1-trace.json" "${@:4}" --json >"$results/$1.json"
}
quantize_shape() {  # SHAPE MAKE-OPTION...
  made "$1" --like "$1" "${@:2}"
  quantize "$1" "$tmp/$1" "$out/$1-awq"
}
greedy() {  # NAME MODEL: 64 tokens on both devices
  local device
  for device in cpu cuda; do
    "$bin/awq" generate "$2" --device $device -p "The " -n 64 --ignore-eos --json >"$results/greedy-$1-$device.json"
  done
}

# ---- the steps ----

decode8b() { decode decode8b llama3-8b --prompt 512,2048 --batch 1,16 --version auto --stages; }
decode7b() { decode decode7b llama2-7b --prompt 512,2048 --batch 1,16 --version auto --stages; }
versions8b() {
  decode versions8b llama3-8b --prompt 512 --batch 1,2,4,8,16,32,64 --version gemm,gemv,auto --in-turn --repeat 7 --cell-seconds 4
}
loop() {
  made llama3-8b-awq --like llama3-8b --quantized --dtype f16
  count=(tools/count_cuda_calls/token_loop_calls.py "$bin/libcount_cuda_calls.so" "$bin/awq" "$tmp/llama3-8b-awq")
  "${count[@]}"
  "${count[@]}" -- --temperature 0.8 --top-p 0.95
}
memory() {  # Qwen's shape has room for 10,000 tokens, and a quarter of its blocks grows as all of them would
  made qwen2.5-7b-awq --like qwen2.5-7b --layers 7 --quantized --dtype f16
  tools/gpu_measure/watch_memory.py --quiet "$results/memory-memory.json" "$bin/awq" generate "$tmp/qwen2.5-7b-awq" \
    --device cuda -p "The " -n 10000 --ignore-eos
}
lose() {
  python3 tests/quant/lose_device.py --preload "$bin/liblose_device.so" --generate "$bin/awq" models/demo -- --samples 32
}
kill9() { python3 tests/quant/kill_and_resume.py --kills 10 "$bin/awq" models/demo -- --device cuda --samples 32; }
quantize7b() { quantize_shape llama2-7b; }
quantize8b() {
  rm -rf "$tmp/llama2-7b" "$out/llama2-7b-awq"
  quantize_shape llama3-8b
}
quantize70b() {
  rm -rf "$tmp"/llama* "$out"/llama*
  quantize_shape llama3-70b --layers 8
}
smallcard() {  # 3.5 GiB hold the windows and a linear of that shape, 4 a block too
  made llama2-7b --like llama2-7b
  [ -d "$out/llama2-7b-awq" ] || quantize_shape llama2-7b
  quantize smallcard "$tmp/llama2-7b" "$out/small" --gpu-memory "$small_card"
  grep -q '"streams_linears": true' "$results/smallcard.json" || { echo "$small_card held a whole block"; return 1; }
  diff -r "$out/llama2-7b-awq" "$out/small"
}
batches() {
  local windows
  for windows in 1 8 32; do
    "$bin/awq" quantize "$model" "$out/batch-$windows" --device cuda --batch $windows --force --quiet
  done
  diff -r "$out/batch-1" "$out/batch-8" && diff -r "$out/batch-1" "$out/batch-32"
}
accuracy() {
  local made on
  for made in cpu cuda; do
    "$bin/awq" quantize "$model" "$out/accuracy-$made" --device $made --force --progress none --json \
      >"$results/accuracy-quantize-$made.json"
    for on in cpu cuda; do
      "$bin/awq" eval "$out/accuracy-$made" --device $on --text "$text" --max-windows 60 --json >"$results/accuracy-$made-$on.json"
    done
  done
  greedy trained "$out/accuracy-cuda"
  "$bin/awq" quantize models/demo "$out/demo" --device cuda --force --quiet
  greedy demo "$out/demo"
}
sanitizer() {
  local tool
  tool=$(command -v compute-sanitizer || find_file compute-sanitizer)
  [ -n "$tool" ] || return 77
  memcheck=("$tool" --tool memcheck --error-exitcode 99)
  "${memcheck[@]}" "$bin/awq" quantize models/demo "$out/checked" --device cuda --samples 4 --seqlen 128 --force --quiet
  "${memcheck[@]}" "$bin/awq" generate "$out/checked" --device cuda -p "The " -n 8 --ignore-eos
}

# ---- running them ----

roomy_folder() {
  local room
  room=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)
  if [ -d /dev/shm/awq_measure ] || [ "${room:-0}" -gt $((48 << 20)) ]; then echo /dev/shm; else echo /tmp; fi
}
prepare() {
  [ -d "$bin" ] || tar -C "$dir" -xJf "$dir/bin.tar.xz"
  bin=$(realpath "$bin")
  results=$(realpath -m "$dir/results")
  export AWQ_MEASURE_TMP=${AWQ_MEASURE_TMP:-$(roomy_folder)}  # once: the room that is left changes
  tmp=$AWQ_MEASURE_TMP/awq_measure
  out=${TMPDIR:-/tmp}/awq_measured  # checkpoints that awq writes: on a disk, as users' are
  model=${AWQ_MEASURE_MODEL:-models/demo}
  text=${AWQ_MEASURE_TEXT:-$out/text.txt}
  small_card=3.5G
  mkdir -p "$results" "$tmp" "$out"
  [ "$text" != "$out/text.txt" ] || cat docs/*.md >"$text"
  use_programs
}
one_step() {  # STEP: what the time limit runs, in a shell of its own
  prepare
  set -e
  "$1"
}
run_step() {  # STEP ESTIMATE LIMIT
  local begun=$SECONDS code=0
  if [ $((SECONDS + $2)) -gt "${AWQ_MEASURE_SECONDS:-3600}" ]; then
    echo "== $1: not begun, it takes about $2 s"
    return
  fi
  timeout --kill-after=10 "$3" "$self" one-step "$dir" "$1" >"$results/$1.log" 2>&1 || code=$?
  echo "$code $((SECONDS - begun))" >"$results/$1.status"
  echo "== $1: exit $code after $((SECONDS - begun)) s"
  [ $code -eq 0 ] || tail -n 5 "$results/$1.log"
}
run() {  # STEP...
  local step estimate limit
  prepare
  while read -r step estimate limit; do
    [[ -z $step || $step == \#* ]] && continue
    if [ $# -eq 0 ] || [[ " $* " == *" $step "* ]]; then run_step "$step" "$estimate" "$limit"; fi
  done <<<"$STEPS"
  tools/gpu_measure/verdicts.py "$results" | tee "$results/verdicts.txt" || true
  tar -C "$dir" -cJf "$dir/results.tar.xz" results
  [ -n "${AWQ_MEASURE_KEEP:-}" ] || rm -rf "$tmp" "$out"
}

case $what in
  build) build ;;
  run) run "${@:3}" ;;
  one-step) one_step "$3" ;;
  verdicts) tools/gpu_measure/verdicts.py "$dir/results" ;;
  *)
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
