#!/bin/sh
# fuzz.sh FOLDER TARGET: runs one program of this folder, built in FOLDER, for 6 seconds, or for 10
# minutes in the long tier. 77 (skipped) where it was not built. Inputs that fail lie in FOLDER.
set -eu
cd "$(dirname "$0")"
here=$PWD
program="$1/fuzz_$2"
[ -x "$program" ] || {
  echo "SKIPPED: needs clang++ with libFuzzer"
  exit 77
}
seconds=6
[ "${NAPIER_TEST_FULL:-}" = 1 ] && seconds=600
mkdir -p "$1/corpus_$2"
seeds="$here/corpus"
length=512
[ ! -d "$here/seeds/$2" ] || {
  seeds="$here/seeds/$2"
  length=2048
}
cd "$1"
exec "$program" -max_total_time=$seconds -seed="${NAPIER_TEST_SEED:-1614}" -max_len=$length \
  -timeout=10 \
  -dict="$here/words.dict" -print_final_stats=1 -verbosity=1 "corpus_$2" "$seeds"
