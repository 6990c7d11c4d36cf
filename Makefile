# One set of commands for people, pre-commit and CI. Everything happens in an environment of its own under .venv.
PYTHON ?= python3
VENV ?= .venv
# The lock for machines without a GPU. For CUDA builds of torch: make CONSTRAINTS=
CONSTRAINTS ?= constraints-cpu.txt

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast lint format bench package wheel-smoke clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED) ## Make the environment and install tersely into it

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "tersely needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[dev,train]"
	@touch $@

demo: $(INSTALLED) ## Ghost text at several places of a sample repository
	$(BIN)/tersely demo

test: $(INSTALLED) ## All tests: the fast ones first, then those with the real model and real clients
	$(BIN)/python -m pytest -q -m "not model and not node and not slow"
	$(BIN)/python -m pytest -q -m "model or node or slow"

test-fast: $(INSTALLED) ## The fast tests alone
	$(BIN)/python -m pytest -q -m "not model and not node and not slow"

lint: $(INSTALLED) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## Put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Every claim that the README makes, measured here: JSON and plots under bench/results
	$(BIN)/python -m bench

package: $(INSTALLED) ## Wheel and source distribution, into dist/
	rm -rf dist
	$(BIN)/python -m build

wheel-smoke: package ## Install the wheel into a fresh environment and complete a line from a hostile workspace
	$(PYTHON) tests/wheel/smoke.py dist $(if $(CONSTRAINTS),--constraints $(CONSTRAINTS))

clean: ## Remove what was built
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
