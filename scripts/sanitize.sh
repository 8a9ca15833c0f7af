#!/bin/sh
# Builds numerics and kernels with the address and undefined sanitizers and runs their fast tests.
set -eu
cd "$(dirname "$0")/.."
cmake --preset asan-core
cmake --build --preset asan-core
ctest --preset asan-core
