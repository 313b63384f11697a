#!/bin/sh
# The main job on the bundled demo model, in about a minute once built: quantize it in four ways, measure how far each is
# from the original, look at the machine, time a query; ends with one table.
set -eu
cd "$(dirname "$0")/.."
tools/install_packages.sh
cmake --preset release >/dev/null
cmake --build --preset release --target awq_cli -j "$(nproc)"

awq=build/awq
model=models/demo
out=out/demo
mkdir -p "$out"

say() { printf '\n== %s\n' "$*"; }
value_of() { sed -n "s/^  \"$2\": \([^,]*\),*\$/\1/p" "$out/$1.json"; }  # a top-level number of a JSON answer

say "quantize $model to 4 bits (calibrated on the built-in text)"
$awq quantize $model $out/awq --force
say "the same by plain rounding, and with 1 % of the channels kept in fp16, to compare"
$awq quantize $model $out/rounding --force --quiet --search none --no-clip
$awq quantize $model $out/awq-fp16 --force --quiet --keep-fp16 1%

say "text to measure on: the original model writes it (so no book needs to be shipped), seeds 1 to 12"
: >$out/text.txt
for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
  $awq generate $model --prompt "The" -n 1200 --temperature 1 --seed $seed --ignore-eos --quiet >>$out/text.txt
done
for name in rounding awq awq-fp16; do
  $awq eval $out/$name --against $model --text $out/text.txt --json --quiet >$out/eval-$name.json
  $awq inspect $out/$name --json >$out/inspect-$name.json
done
$awq inspect $model --json >$out/inspect-original.json

say "what the quantized model writes after \"The city\""
$awq generate $out/awq --prompt "The city" -n 60 --temperature 0.8 --top-p 0.95 --seed 3

say "this machine, and which kernel serves one token (m = 1) and a long prompt (m = 512)"
$awq devices
say "how long one query takes with each kernel version"
$awq bench $out/awq --quiet

row() {  # TITLE SIZE-JSON EVAL-JSON
  bytes=$(value_of "$2" bytes)
  bits=$(value_of "$2" bits_per_weight)
  if [ -n "$3" ]; then
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$bytes" "$bits" "$(value_of "$3" perplexity)" "$(value_of "$3" kl)" "$(value_of "$3" top1_agreement)"
  else
    printf '%s\t%s\t%s\t%s\t0\t1\n' "$1" "$bytes" "$bits" "$(value_of eval-awq reference_perplexity)"
  fi
}
say "the result (KL: distance of the predictions from the original's, 0 = the same; agreement: same most likely next token)"
printf '%-34s %9s %12s %11s %9s %10s\n' "" "size" "bits/weight" "perplexity" "KL" "agreement"
{
  row "original, bf16" inspect-original ""
  row "4 bits, plain rounding" inspect-rounding eval-rounding
  row "4 bits, AWQ" inspect-awq eval-awq
  row "4 bits, AWQ + 1 % fp16 channels" inspect-awq-fp16 eval-awq-fp16
} | awk -F '\t' '{ printf "%-34s %6.2f MB %12.2f %11.3f %9.5f %8.1f %%\n", $1, $2 / 1e6, $3, $4, $5, 100 * $6 }'
printf '\nThe checkpoints are in %s. Next: %s --help, README.md, docs/guide.md\n' "$out" "$awq"
