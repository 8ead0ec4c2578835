# Each target sets up $(VENV) and installs what it needs; a second run finds the stamps and starts at once.
#
#   make setup       the virtual environment: both halves of sparrot, the tools for tests and checks
#   make demo        trains a small recogniser, exports it, transcribes unseen recordings at every level
#   make test        the quick tests                       make test-slow   the others
#   make bench       benchmarks/*.py into results/         make results     the recipes and the tables made of them
#   make fuzz        looks for files that break the loader
#   make sanitize    the C++ part under sanitizers         make sanitize-threads   threads, for races
#   make lint        ruff, mypy, generated pages           make docs        the site, into site/
#   make clean       removes what was built and remembered; runs, results and the environment stay
#
# Variables:  PYTHON   the interpreter that makes the environment (3.11 or newer)
#             VENV     where the environment is               DATA   folder of the corpora that `results` needs
#             ARGS     passed on to pytest by the test targets
#             FUZZ_SECONDS   how long `fuzz` looks; 600 if it is not set

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-slow bench results fuzz sanitize sanitize-threads lint docs clean

PYTHON ?= python3
VENV ?= .venv
DATA ?= data
ARGS ?=
FUZZ_SECONDS ?= 600

BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

# libgomp's threads spin while they wait, which ruins every timing as soon as cores are shared.
export OMP_WAIT_POLICY ?= passive
# pip reads these for the packages it installs and for those that it builds with.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet

NATIVE := $(wildcard CMakeLists.txt) $(shell find csrc -type f 2>/dev/null)

help:
	@sed -n '3,15s/^# \{0,1\}//p' Makefile

setup: $(STAMPS)/setup

$(STAMPS)/python:
	@if [ ! -x $(BIN)/python ]; then \
	  command -v "$(PYTHON)" >/dev/null || { \
	    echo "Setting up $(VENV): there is no \`$(PYTHON)\` on PATH. Install Python 3.11 or newer, or name one: make PYTHON=python3.12 …" >&2; exit 2; }; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Setting up $(VENV): \`$(PYTHON)\` is $$("$(PYTHON)" -V 2>&1), and sparrot needs 3.11 or newer. Name one: make PYTHON=python3.12 …" >&2; exit 2; }; \
	  "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "Setting up $(VENV): \`$(PYTHON)\` comes without the venv module. Install it (Debian: apt install python3-venv), then run make again." >&2; exit 2; }; \
	  echo "Making the virtual environment $(VENV)"; \
	  "$(PYTHON)" -m venv "$(VENV)"; \
	fi
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/setup: $(STAMPS)/python pyproject.toml constraints.txt $(NATIVE)
	@echo "Installing sparrot and its tools into $(VENV) (about two minutes the first time)"
	@$(PIP) -e '.[train,dev]'
	@touch $@

$(STAMPS)/docs: $(STAMPS)/setup
	@$(PIP) -e '.[docs]'
	@touch $@

# The rivals of the benchmarks. DeepSparse was withdrawn; it wants older packages and Python 3.11 at most.
$(STAMPS)/bench: $(STAMPS)/setup
	@$(PIP) -e '.[train,dev,bench]'
	@$(BIN)/python -m venv --clear $(VENV)/deepsparse && \
	  $(VENV)/deepsparse/bin/python -m pip install --quiet deepsparse==1.8.0 || { \
	    rm -rf $(VENV)/deepsparse; \
	    echo "make bench: DeepSparse 1.8.0 does not install here; nothing is compared with it" >&2; }
	@touch $@

demo: $(STAMPS)/setup
	@rm -rf runs/demo
	@$(BIN)/sparrot demo --out runs/demo

test: $(STAMPS)/setup
	@$(BIN)/python -m pytest -m 'not slow' $(ARGS)

test-slow: $(STAMPS)/setup
	@$(BIN)/python -m pytest -m slow $(ARGS)

# Each script checks its result against a reference, then prints one JSON object: rows, goals, machine.
bench: $(STAMPS)/bench
	@scripts=$$(find benchmarks -maxdepth 1 -name '*.py' 2>/dev/null | sort); \
	if [ -z "$$scripts" ]; then echo "make bench: there is no script in benchmarks/" >&2; exit 2; fi; \
	for script in $$scripts; do \
	  folder=results/$$(basename $$script .py); mkdir -p $$folder; \
	  echo "$$script"; \
	  $(BIN)/python $$script --json > $$folder/result.json.tmp; \
	  mv $$folder/result.json.tmp $$folder/result.json; \
	done
	@$(BIN)/python benchmarks/products/drawing.py results/kernels
	@$(BIN)/python docs/tables.py

REPORTED := an4-methods-dense an4-methods an4-hard an4-iterative an4-wp an4-bp $(addprefix an4-bp-,8x8 12x2 16x16 32x32) an4-glp an4-l1 an4-l1wp an4-lhalf an4-lhalfwp an4-gl \
            ptb-small ptb-small-bp games-rnnt-dense games-rnnt fsdd-dsnn

# Trains the published recipes (or goes on with runs that were stopped) and decodes their test sets once.
results: $(STAMPS)/setup
	@for name in fsdd an4 weights transducer an4-methods an4-lm ptb; do $(BIN)/python recipes/results.py $$name --corpora $(DATA); done
	@$(BIN)/sparrot report $(REPORTED:%=runs/%) --closer an4-iterative --closer ptb-small-bp --closer games-rnnt --kernels results/kernels/result.json \
	  --output results/report.html
	@$(BIN)/python docs/tables.py

$(STAMPS)/fuzz: $(STAMPS)/setup
	@$(PIP) -e '.[fuzz]'
	@touch $@

# What breaks a promise of the loader is left in runs/fuzz; tests/fuzz/loader.py says what to do with it.
fuzz: $(STAMPS)/fuzz
	@$(BIN)/python tests/fuzz/loader.py --seconds $(FUZZ_SECONDS) --found runs/fuzz

# Environments of their own, which see the packages of $(VENV) and have the extension with sanitizers in it.
# Their libraries must be loaded before Python; Python's own memory at exit is no leak of ours.
SANITIZED := build/sanitized
SANITIZED_TESTS ?= tests/test_core.py tests/kernels tests/model_file tests/fuzz tests/nn/test_lattice.py $(addprefix tests/engine/test_, \
  network.py embedding.py batch_norm.py shared_rnn.py decoders.py prefix_beam.py search_truth.py transducer.py \
  transducer_network.py transducer_stream.py \
  encoder.py intake.py recognizer.py stream.py switching.py threads.py misuse.py)
THREAD_SANITIZED_TESTS ?= $(addprefix tests/engine/test_,switching.py threads.py misuse.py)

$(SANITIZED)-%/stamp: $(STAMPS)/setup $(NATIVE) $(shell find src -name '*.py' 2>/dev/null)
	@echo "Building sparrot with sanitizers into $(@D) (some minutes)"
	@$(BIN)/python -m venv --clear $(@D)
	@$(BIN)/python -c "import sys; print(*[p for p in sys.path if p.endswith('site-packages')], sep='\n')" \
	  > $$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/packages.pth
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(@D)/bin/python -m pip install \
	  --quiet --no-deps -Ccmake.define.SPARROT_SANITIZE=$* -Ccmake.build-type=Debug -Cinstall.strip=false \
	  -Cbuild-dir=build/sanitize-$* .
	@touch $@

# $(1): the sanitizer's library; $(2): its folder; $(3): tests
sanitized_tests = LD_PRELOAD="$$($(CXX) -print-file-name=lib$(1).so) $$($(CXX) -print-file-name=libstdc++.so)" \
  $(2)/bin/python -m pytest -m 'not slow' -p no:cacheprovider $(ARGS) $(3)

sanitize: $(SANITIZED)-address/stamp
	@export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1; \
	  $(call sanitized_tests,asan,$(<D),$(SANITIZED_TESTS))

# First without Python, where every access is watched. A forked child may start threads: a test does so.
sanitize-threads: $(SANITIZED)-thread/stamp
	@$(BIN)/python -m pytest -p no:cacheprovider tests/network/test_races.py
	@export TSAN_OPTIONS='halt_on_error=1 die_after_fork=0'; \
	  $(call sanitized_tests,tsan,$(<D),$(THREAD_SANITIZED_TESTS))

lint: $(STAMPS)/setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src
	$(BIN)/python docs/tables.py --check
	$(BIN)/python docs/reference.py --check

docs: $(STAMPS)/docs
	@$(BIN)/mkdocs build --strict --quiet && echo "The site is in site/"

# The environment itself stays; its stamps go, so that the next target installs again.
clean:
	rm -rf $(STAMPS) build site dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
