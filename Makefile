# Two commands: `make run` simulates the default scenario, `make test` runs the tests. Either may come first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Only what is imported needs byte code, and Python makes that at the first import: all of it took a third of an install.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: run test check bench docs validity schemas train clean
.DEFAULT_GOAL := run

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("flightsim needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# Stamps: an install is done once and again when what it depends on has changed.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) --constraint constraints.txt --editable ".[dev]"
	@touch $@

# What runs and trains models with torch: 1.4 GB. A CPU build of torch suffices; install it first to choose the build.
$(VENV)/.train: $(VENV)/.dev
	$(PIP) --constraint constraints.txt torch
	$(PIP) --constraint constraints.txt --editable ".[dev,train,server]"
	@touch $@

run: $(VENV)/.core
	$(BIN)/flightsim run default

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

train: $(VENV)/.train
	$(BIN)/flightsim train --out payload/models/flightsim-tiny

schemas: $(VENV)/.core
	$(BIN)/python -m flightsim.scenario.schema > schemas/scenario.schema.json
	$(BIN)/python -m flightsim.events > schemas/event.schema.json
	$(BIN)/python -m flightsim.runfolder > schemas/run.schema.json

docs: $(VENV)/.dev
	$(BIN)/python tools/make_docs.py

# Measures every model against the references beside the checkout, and writes the tables of docs/models.
validity: $(VENV)/.dev
	$(PIP) --constraint constraints.txt --editable ".[dev,weather]"
	$(BIN)/python -m benchmarks.validity

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .mypy_cache .ruff_cache
