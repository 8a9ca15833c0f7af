#!/usr/bin/env bash
# From nothing to figures in silicon: proves circuits equal to the arithmetic by simulation, and
# beside that synthesises them and measures area, delay and energy. Says what is missing and does
# nothing where the tools are absent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh --hw || true # what could not be installed is said below
missing=()
for tool in yosys sta iverilog; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
[ -r /usr/share/qflow/tech/osu018/osu018_stdcells.lib ] || missing+=(qflow-tech-osu018)
if [ "${#missing[@]}" -gt 0 ]; then
  echo "make hw: skipped, not installed: ${missing[*]}" >&2
  exit 0
fi

mkdir -p build
cmake --preset release >build/configure.log 2>&1 || {
  cat build/configure.log >&2
  exit 1
}
cmake --build --preset release --target napier

operands=(models/shakespeare.gguf --text models/shakespeare.txt)
dots='fp8_e4m3/acc=f32(align=16,extra=2),lmul-e4m3/acc=f32(align=16,extra=2),int8'
multipliers=f32,bf16,fp8_e4m3,fp8_e5m2,int8,lmul-m4,lmul-m3,lmul-e4m3
elements=bf16,fp8_e4m3,int8,lmul-m4,lmul-e4m3

napier() {
  echo >&2
  echo "napier $*" >&2
  build/napier "$@"
}
# The proofs run beside the reports, which keep one processor busy; what they say is printed last.
check() {
  napier hw check --icarus --vectors 20000 --arith "$multipliers" --unit wide,step &&
    napier hw check --icarus --vectors 2000 --arith "$dots" --unit dot --pipelined
}
check >build/hardware-check.log 2>&1 &
checking=$!

napier hw report "${operands[@]}" --vectors 500 --repeats 2 --delay 0,equal --unit wide \
  --arith "$multipliers"
napier hw report "${operands[@]}" --vectors 200 --repeats 2 --delay 0 --unit step \
  --arith "$elements"
napier hw report "${operands[@]}" --vectors 100 --repeats 1 --delay 0 --unit dot --pipelined \
  --arith "$dots"

checked=0
wait "$checking" || checked=$?
cat build/hardware-check.log
exit "$checked"
