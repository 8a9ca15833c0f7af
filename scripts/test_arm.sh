#!/usr/bin/env bash
# Builds numerics and kernels for 64-bit Arm (NEON) and runs their C++ tests under qemu. Installs
# what that needs, as root on Debian; elsewhere and otherwise says what is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
packages=(g++-aarch64-linux-gnu qemu-user libhwy-dev:arm64 libgtest-dev:arm64)

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "test-arm: skipped; as root: dpkg --add-architecture arm64, apt-get update," \
      "apt-get install ${missing[*]}" >&2
    exit 77
  fi
  echo "test-arm: installing ${missing[*]}" >&2
  dpkg --add-architecture arm64
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
cmake --preset arm64-core
cmake --build --preset arm64-core
ctest --preset arm64-core
