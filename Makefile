# Two commands: `make run` makes a model and a report, `make test` proves that all of it works.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
CORES ?= 4
CONFIG ?=
SLURM_NODES ?= 4
KILLS ?= 100
SLURMDBD ?= yes
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Set-up is done again when the lock or the package's metadata change, and not otherwise.
READY := .venv/.ready
READY_TO_TEST := .venv/.ready-to-test
SOURCES := scripts tests
RULES := Snakefile workflow/rules
LOCAL_SLURM := $(BIN)/python -m slimline.localcluster

.PHONY: help run test check lint format types unit pipeline slurm soak bench docs lock clean slurm-up slurm-down slurm-status

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 21

run: $(READY) ## run the experiment (CONFIG=config/other.yaml, CORES=4) and print verdict and report
	@$(BIN)/snakemake --cores $(CORES) $(if $(CONFIG),--configfile $(CONFIG))

test: $(READY_TO_TEST) check ## lint, format, types and the whole test suite
	@# Tests on Slurm wait much of their time, so the others run beside them.
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=line pipeline slurm

check: lint types unit ## the fast part: lint, format, types, unit tests

lint: $(READY_TO_TEST) ## linters and formatters, changing nothing
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/snakefmt --check $(RULES)
	@$(BIN)/snakemake --lint

format: $(READY_TO_TEST) ## format everything in place
	@$(BIN)/ruff check --fix $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/snakefmt $(RULES)

types: $(READY_TO_TEST) ## static types
	@$(BIN)/mypy

# Tests run beside each other. A thread that spins while it waits for another one takes the core that one needs:
# two trainings at once take 2 to 9 times as long as one after the other.
unit pipeline slurm soak: export OMP_WAIT_POLICY = passive

unit: $(READY_TO_TEST) ## fast tests of functions
	@# The tests of a file share what is slow to make, so one worker runs them all.
	@$(BIN)/pytest tests/unit -n auto --dist loadfile

pipeline: $(READY_TO_TEST) ## tests that run real Snakemake on small real data
	@$(BIN)/pytest tests/pipeline

slurm: $(READY_TO_TEST) ## tests on a real Slurm of this machine's own (root on Debian)
	@$(BIN)/pytest tests/slurm

soak: $(READY_TO_TEST) ## a training that is killed at random moments (KILLS=100), again and again
	@SLIMLINE_KILLS=$(KILLS) $(BIN)/pytest tests/soak

bench: $(READY_TO_TEST) ## benchmarks: speed against limits and peers
	@$(BIN)/pytest tests/benchmarks -s

slurm-up: $(READY) ## start a real Slurm on this machine (root on Debian; SLURM_NODES=4, SLURMDBD=no)
	@$(LOCAL_SLURM) up --nodes $(SLURM_NODES) --slurmdbd $(SLURMDBD)

slurm-down: $(READY) ## end it, and all of its jobs
	@$(LOCAL_SLURM) down

slurm-status: $(READY) ## tell whether it is up, its nodes and its queue
	@$(LOCAL_SLURM) status

docs: $(READY_TO_TEST) ## write the generated parts of the documentation again
	@$(BIN)/python -m slimline.config.document
	@$(BIN)/python -m slimline.reporting.document

lock: $(READY_TO_TEST) ## resolve the dependencies anew into the lock files
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url pyproject.toml \
	  --custom-compile-command 'make lock' --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url pyproject.toml --extra dev \
	  --constraint requirements.lock --custom-compile-command 'make lock' --output-file requirements-dev.lock

clean: ## remove the environment and caches; data and results stay
	rm -rf .venv .snakemake .pytest_cache .mypy_cache .ruff_cache

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "slimline needs Python 3.11 or later; choose one with: make PYTHON=python3.12 …"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	  { rm -rf .venv; echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing the locked dependencies into .venv (once; PyTorch is a large download) ..."
	@$(PIP) install --requirement requirements.lock
	@$(PIP) install --no-deps --editable .
	@touch $@

$(READY_TO_TEST): $(READY) requirements-dev.lock
	@echo "Installing the test tools into .venv ..."
	@$(PIP) install --requirement requirements-dev.lock
	@touch $@
