# GNU make. Windows, or no make: README.md has the plain commands.
# `make setup PYTHON=python3.12` chooses another Python; the default is the first one that is 3.10 or newer.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# OpenMP threads that spin at their barriers are slow beside a busy neighbour: docs/log.md.
export GOMP_SPINCOUNT ?= 2000

.DEFAULT_GOAL := setup
.PHONY: setup demo test lint fresh

setup: $(STAMP)

$(STAMP): pyproject.toml
	@python="$(PYTHON)"; if [ ! -x $(BIN)/python ] && [ -z "$$python" ]; then \
		echo "no Python of 3.10 or newer with venv was found; name one: make setup PYTHON=/path/to/python3" >&2; exit 1; \
	fi; [ -x $(BIN)/python ] || "$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --editable '.[dev,compare]' 2> /dev/null || { \
		echo "meshoptimizer needs a C++ compiler: pictures and tables come without the row decimate"; \
		$(BIN)/python -m pip install --quiet --editable '.[dev]'; }
	@touch $@

# Demo options: `make demo ARGS="--input examples/house.glb"`
demo: $(STAMP)
	$(BIN)/python examples/demo.py $(ARGS)

# Part of the tests: `make test ARGS=tests/mesh`
test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# numba does not see a change to a function that another file calls.
fresh:
	find flashmesh_core -name '*.nb[ic]' -delete
