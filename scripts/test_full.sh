#!/usr/bin/env bash
# Runs every test of the built release preset and keeps a dated log of it in docs/test-full.log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p docs
{
  echo "make test-full, $(date -u +%Y-%m-%d), commit $(git rev-parse --short HEAD 2>/dev/null)"
  echo "$(uname -sm), $(nproc) processors, $(c++ --version | head -n 1)"
  ctest --preset full
} 2>&1 | sed "s|$PWD|.|g" | tee docs/test-full.log
