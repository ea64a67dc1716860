# make run: the main job; make test: the test suite. Both work on a fresh machine with Python >= 3.11 and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# jobs of the workflow call nextham and nextham-bench by name
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run test lint bench unlock clean help

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nextham needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 run"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) 2>/dev/null || $(MAKE) --no-print-directory virtualenv
	@echo "installing the pinned dependencies into $(VENV) (a few minutes, once)"
	$(BIN)/pip install --disable-pip-version-check --quiet --progress-bar off -c constraints.txt -e '.[train,workflow,dev]'
	@touch $@

# Debian's python3 comes without the venv module: virtualenv, kept in a folder of its own, does the same.
.PHONY: virtualenv
virtualenv:
	@rm -rf $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .venv-bootstrap virtualenv
	@PYTHONPATH=.venv-bootstrap $(PYTHON) -m virtualenv --quiet $(VENV)
	@rm -rf .venv-bootstrap

run: $(STAMP)  ## the main job: shards, model, predictions, report, in results/
	$(BIN)/snakemake --cores all --workflow-profile workflow/profiles/local

test: $(STAMP)  ## the test suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

lint: $(STAMP)  ## the workflow's own lints
	$(BIN)/snakefmt --check Snakefile workflow/rules
	-$(BIN)/snakemake --lint  # always reports that rules name no conda environment, which is meant

bench: $(STAMP)  ## speed and memory, as ratios side by side
	$(BIN)/pytest bench/bench_*.py --benchmark-only -o addopts= --benchmark-columns=min,median,rounds

unlock:  ## after a kill -9 or a power loss: remove Snakemake's lock, then make run goes on
	$(BIN)/snakemake --unlock

clean:  ## remove results, keep the environment
	rm -rf results .snakemake
