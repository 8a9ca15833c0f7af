#!/usr/bin/env bash
# Installs what building and testing need: Debian packages, and a virtual environment with the
# pinned test oracles in build/venv. Does nothing, quickly, when all is there.
# With --build-only what the tests alone need is left out: enough to build and to run the demo.
# With --bench the same, and what the kernels are measured against; with --hw, the tools that
# circuits are simulated and synthesised with.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(g++ make cmake ninja-build libhwy-dev libfmt-dev libcli11-dev libtomlplusplus-dev
  libboost-dev libsqlite3-dev libssl-dev libeigen3-dev
  coinor-libcbc-dev pkg-config nlohmann-json3-dev libgtest-dev python3 python3-venv)
# Clang has libFuzzer and the reference formatter.
test_packages=(clang libclang-rt-dev clang-format libopenmpi-dev openmpi-bin python3-dev
  librsvg2-bin)

say() { echo "setup: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      echo "$package"
  done
}

install_packages() {
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here; these must be installed by hand: ${packages[*]}"
    return
  fi
  local missing as_root=()
  mapfile -t missing < <(missing_packages)
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "as root, run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

make_venv() {
  local venv=build/venv stamp
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "the tests need Python 3.11 or newer; $(command -v python3) is $(python3 -V)"
  stamp="$(python3 -V) $(sha256sum <tests/requirements.txt)"
  [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ] || return 0
  say "making $venv"
  python3 -m venv --clear "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement tests/requirements.txt
  echo "$stamp" >"$venv/stamp" # last, so that a broken installation is made again
}

if [ "${1:-}" = --build-only ]; then
  install_packages
elif [ "${1:-}" = --bench ]; then
  packages+=(libdnnl-dev) # what the kernels are measured against
  install_packages
elif [ "${1:-}" = --hw ]; then
  packages+=(yosys opensta iverilog verilator qflow-tech-osu018)
  install_packages
else
  packages+=("${test_packages[@]}")
  install_packages
  make_venv
fi
