# Everything runs in an environment that these rules make: only python3 (3.11 or newer, with venv) and make are needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: help install demo test test-slow lint types format clean

help:            ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

install: $(VENV)/.installed  ## the environment and the program, in .venv

demo: $(VENV)/.installed     ## the whole job on synthetic identities, nothing downloaded but packages
	$(BIN)/siamese demo --out demo

lint: $(VENV)/.installed-dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## mypy, strict
	$(BIN)/mypy

# Two at a time, each on one thread: as many as there are processors would share them all the same.
test: lint types             ## lint, types and tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow' -n $(WORKERS) --dist worksteal

test-slow: $(VENV)/.installed-dev ## the minutes-long checks on real faces
	$(BIN)/pytest -m slow

format: $(VENV)/.installed-dev ## ruff format, and what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:                       ## the environment and the caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
