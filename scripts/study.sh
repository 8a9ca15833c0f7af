#!/bin/sh
# study.sh [FOLDER [STEPS]]: trains the model of recipes/train/study.toml.in from scratch under each
# arithmetic: forward only (gradients in f32), forward and backward, and, with sums in f32, by the
# arithmetic's own derivative; sums in f32, bf16, e4m3; three seeds. A line a run goes to
# FOLDER/results.csv, with the SHA-256 of the model it made; begun again, it goes on where it was.
# STUDY_FORMATS, STUDY_SUMS, STUDY_PASSES, STUDY_SEEDS choose parts of it; STUDY_JOBS runs go on
# side by side, of one thread each: the model is too small for more.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/build/study}
steps=${2:-4800}
napier=${NAPIER:-$root/build/napier}
mkdir -p "$folder"
results=$folder/results.csv
[ -e "$results" ] || echo "arithmetic,sums,passes,seed,steps,loss,exact,diverged,model" >"$results"

. "$root/scripts/study_run.sh"

one_run() { # format sums passes seed
  name=$1-$2-$3-$4
  own=
  [ "$3" != own ] || own='/_gradients = /d; s/^forward = .*/&\ngradient = "own"/'
  configured study "$name" "$1" "$2" "$3" "$4" "$own"
  row=$(trained "$name" "$arithmetic")
  echo "$1,$2,$3,$4,$steps,$row" >>"$results"
}

if [ "${3:-}" = --run ]; then
  shift 3
  one_run "$@"
  exit 0
fi
for sums in ${STUDY_SUMS:-f32 bf16 e4m3}; do
  for seed in ${STUDY_SEEDS:-1 2 3}; do
    for format in ${STUDY_FORMATS:-f32 bf16 fp8_e4m3 fp8_e5m2 lmul-m7 lmul-m4 lmul-m3}; do
      for passes in ${STUDY_PASSES:-forward both own}; do
        [ "$passes" != own ] || [ "$sums" = f32 ] || continue
        grep -q "^$format,$sums,$passes,$seed,$steps," "$results" ||
          echo "$format" "$sums" "$passes" "$seed"
      done
    done
  done
done | xargs -r -L 1 -P "${STUDY_JOBS:-2}" sh "$0" "$folder" "$steps" --run

# Means over the seeds, and the least and the largest accuracy.
awk -F, '
  NR == 1 { next }
  {
    key = $1 "," $2 "," $3
    if (!(key in runs)) order[++count] = key
    runs[key]++
    diverged[key] += $8
    if ($8) next
    if (!(key in ended)) least[key] = most[key] = $7
    ended[key]++
    loss[key] += $6
    exact[key] += $7
    if ($7 < least[key]) least[key] = $7
    if ($7 > most[key]) most[key] = $7
  }
  END {
    printf "%-12s %-6s %-8s %5s %9s %8s  %s\n", "arithmetic", "sums", "passes", "runs", "diverged",
      "loss", "exact [least, most]"
    for (i = 1; i <= count; i++) {
      key = order[i]
      split(key, part, ",")
      printf "%-12s %-6s %-8s %5d %9d", part[1], part[2], part[3], runs[key], diverged[key]
      if (ended[key]) printf " %8.4f  %.3f [%.3f, %.3f]", loss[key] / ended[key],
        exact[key] / ended[key], least[key], most[key]
      print ""
    }
  }' "$results"
