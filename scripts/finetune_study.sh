#!/bin/sh
# finetune_study.sh [FOLDER [STEPS]]: Table 6 of L-Mul's paper (arXiv 2410.00907) in small. The
# models that study.sh has trained under f32 (in FOLDER, three seeds) are fine-tuned with every
# matrix multiplication on fp8 operands and summed in e4m3: e4m3, e5m2, L-Mul on e4m3; and with f32
# sums, and bf16, to compare with. A line a run goes to FOLDER/finetuned.csv: the accuracy before
# (under the arithmetic, not fine-tuned) and after; begun again, it goes on where it was.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/build/study}
steps=${2:-1200}
napier=${NAPIER:-$root/build/napier}
results=$folder/finetuned.csv
[ -e "$results" ] ||
  echo "arithmetic,sums,passes,seed,steps,before,loss,exact,diverged,model" >"$results"
. "$root/scripts/study_run.sh"

one_run() { # format sums passes seed
  name=finetuned-$1-$2-$3-$4
  from=$folder/f32-f32-forward-$4/model.gguf
  configured finetune "$name" "$1" "$2" "$3" "$4" "s|@FROM@|$from|"
  before=$(accuracy "$from" "$arithmetic")
  row=$(trained "$name" "$arithmetic")
  echo "$1,$2,$3,$4,$steps,$before,$row" >>"$results"
}

if [ "${3:-}" = --run ]; then
  shift 3
  one_run "$@"
  exit 0
fi
for seed in 1 2 3; do
  for sums in e4m3 f32; do
    for format in fp8_e4m3 fp8_e5m2 lmul-e4m3 bf16; do
      for passes in forward both; do
        grep -q "^$format,$sums,$passes,$seed,$steps," "$results" ||
          echo "$format" "$sums" "$passes" "$seed"
      done
    done
  done
done | xargs -r -L 1 -P "${STUDY_JOBS:-2}" sh "$0" "$folder" "$steps" --run

sort -t, -k2,3 -k1,1 -k4,4n "$results" | awk -F, '
  $1 == "arithmetic" { next }
  {
    key = sprintf("%-12s %-6s %-8s", $1, $2, $3)
    if (!(key in runs)) order[++count] = key
    runs[key]++
    diverged[key] += $9
    before[key] += $6
    after[key] = after[key] " " ($9 ? "-" : sprintf("%.3f", $8))
    if (!$9) sum[key] += $8
  }
  END {
    printf "%-12s %-6s %-8s %6s %6s  %s\n",
      "arithmetic", "sums", "passes", "before", "after", "each"
    for (i = 1; i <= count; i++) {
      key = order[i]
      ended = runs[key] - diverged[key]
      printf "%s %6.3f %6.3f %s\n", key, before[key] / runs[key],
        ended ? sum[key] / ended : 0, after[key]
    }
  }'
