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
NPM_CI := npm ci --silent --ignore-scripts --no-audit --no-fund
EDITORS := nvim or vscode or browser or emacs or helix
FAST := not model and not node and not slow and not nvim and not vscode and not browser and not emacs and not helix

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast e2e editor-tools lint lint-editors format bench package wheel vsix wheel-smoke clean

help: ## Say what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED) ## Make the environment and install tersely into it

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "tersely needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e ".[dev,train,batch]"
	@touch $@

demo: $(INSTALLED) ## Ghost text at several places of a sample repository
	$(BIN)/tersely demo

test: $(INSTALLED) ## All tests but those in real editors: the fast ones first, then those with the real model
	$(BIN)/python -m pytest -q -m "$(FAST)"
	$(BIN)/python -m pytest -q -m "(model or node or slow) and not ($(EDITORS))"

test-fast: $(INSTALLED) ## The fast tests alone
	$(BIN)/python -m pytest -q -m "$(FAST)"

e2e: $(INSTALLED) editor-tools ## Tests in real editors and a real browser: Neovim 0.10 to 0.12, VS Code, Emacs, Helix, Chromium
	$(BIN)/python -m pytest -q -m "$(EDITORS)" $(CHOOSE)

editor-tools: ## What these tests need of Debian's packages, installed where this may be done unasked
	@tests/editors/install_tools.sh

lint: $(INSTALLED) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-editors: ## Style and types of the editors' clients; what is not installed here is said
	@if command -v luacheck >/dev/null; then cd editors/nvim && luacheck -q .; \
	  else echo "luacheck: left out, since it is not installed (Debian: lua-check)"; fi
	@if ! command -v npm >/dev/null; then echo "StyLua and tsc: left out, since Node.js and npm are not installed"; else \
	  $(NPM_CI) --prefix tests/editors && node tests/editors/stylua.js editors/nvim tests/editors/nvim && \
	  cd editors/vscode && $(NPM_CI) && npm run --silent check; fi

format: $(INSTALLED) ## Put the style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Every claim that the README makes, measured here: JSON and plots under bench/results
	$(BIN)/python -m bench

package: wheel vsix ## Wheel, source distribution and the VS Code extension, into dist/

wheel: $(INSTALLED) ## Wheel and source distribution, into dist/
	rm -rf dist
	$(BIN)/python -m build

vsix: ## The VS Code extension, into dist/, where Node.js is installed
	@if ! command -v npm >/dev/null; then echo "vsix: left out, since Node.js and npm are not installed"; else \
	  mkdir -p dist && cd editors/vscode && npm ci --ignore-scripts --no-audit --no-fund && npm test && npm run package -- --out ../../dist/; fi

wheel-smoke: wheel ## Install the wheel into a fresh environment and complete a line from a hostile workspace
	$(PYTHON) tests/wheel/smoke.py dist $(if $(CONSTRAINTS),--constraints $(CONSTRAINTS))

clean: ## Remove what was built
	rm -rf $(VENV) dist build editors/vscode/dist editors/vscode/build .mypy_cache .ruff_cache .pytest_cache .hypothesis
