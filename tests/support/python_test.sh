#!/bin/sh
# python_test.sh PYTHON FILE: runs a file of pytest functions; tests/conftest.py sets the exit code.
[ -x "$1" ] || {
  echo "there is no $1: run 'make setup' first" >&2
  exit 1
}
exec env PYTHONDONTWRITEBYTECODE=1 "$1" -m pytest -q -rs -p no:cacheprovider \
  --rootdir "$(dirname "$0")/.." "$2"
