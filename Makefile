# What a user and a developer type; the work is done by CMake and scripts/.
#   make demo                             compares arithmetics on the two models of models/
#   make demo MODEL=m.gguf TEXT=t.txt     the same on a model and a text of yours
#   make test                             sets up, builds, runs all tests but the long tier
#   make test-full                        all tests; the log goes to docs/test-full.log
#   make test-arm                         numerics and kernels on 64-bit Arm, under qemu
#   make python                           the Python package: builds it in build/python, tests it
#   make python-bench                     its speed against C++'s and PyTorch's
#   make wheel                            a wheel of it in build/dist
#   make study                            trains under arithmetics, hours; goes on where it was
#   make hw                               circuits: simulated, synthesised, area, delay, energy
#   make build | bench | format | setup | clean

JOBS  := $(shell nproc)
# Warnings are errors where changes are judged, not where they are made.
STRICT := $(if $(CI),ON,OFF)
ARITH := bf16,fp8_e4m3,fp8_e5m2,lmul-m4,lmul-m4-rne,lmul-m3
CHUNKS := 20
MODEL :=
TEXT  :=

export CTEST_PARALLEL_LEVEL ?= $(JOBS)
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(JOBS)

.PHONY: help setup configure build demo test test-full test-arm bench hw python python-bench wheel
.PHONY: format clean study

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@scripts/setup.sh

configure: setup
	@cmake --preset release -DNAPIER_WERROR=$(STRICT) -DNAPIER_BUILD_PYTHON=ON

build: configure
	@cmake --build --preset release

demo:
	@test "$(if $(MODEL),1)" = "$(if $(TEXT),1)" || { \
	  echo "make demo takes both MODEL=model.gguf and TEXT=file.txt, or none" >&2; exit 2; }
	@scripts/setup.sh --build-only
	@mkdir -p build
	@cmake --preset release >build/configure.log 2>&1 || \
	  { cat build/configure.log >&2; exit 1; }
	@cmake --build --preset release --target napier
ifeq ($(MODEL),)
	@build/napier eval models/shakespeare.gguf --text models/shakespeare.txt --arith $(ARITH) \
	  --ctx 128 --chunks 100
	@build/napier tasks models/arithmetic.gguf --task arithmetic/small --arith $(ARITH)
else
	@build/napier eval "$(MODEL)" --text "$(TEXT)" --arith $(ARITH) --chunks $(CHUNKS)
endif

study: build
	@scripts/study.sh
	@scripts/finetune_study.sh

test: configure
	@cmake --build --preset release --target all napier_llama_tools
	@ctest --preset release

test-full: configure
	@cmake --build --preset release --target all napier_llama_tools
	@scripts/test_full.sh

test-arm:
	@scripts/test_arm.sh

bench:
	@scripts/setup.sh --bench
	@cmake --preset release -DNAPIER_BUILD_BENCH=ON
	@cmake --build --preset release --target napier_bars
	@OMP_NUM_THREADS=1 build/napier_bars

python: configure
	@cmake --build --preset release --target napier napier_python
	@ctest --preset release -R '^python\.'

python-bench: configure
	@cmake --build --preset release --target napier_python
	@PYTHONPATH=build/python build/venv/bin/python bench/python_bars.py

wheel: setup
	@scripts/build_wheel.sh

hw:
	@scripts/hardware.sh

format:
	@find $(wildcard src include tests bench) \( -name '*.[ch]pp' -o -name '*.h' \) \
	  -exec clang-format -i {} +

clean:
	@rm -rf build build-wheel build-wheel-portable build-debug build-asan build-asan-core build-arm64
