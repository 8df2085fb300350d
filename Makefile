# Every target installs what it needs first, so each works on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= .dormouse
SQL_PORT ?= 5433
API_PORT ?= 8080
PYTEST_ARGS ?=
# One worker more than there are cores, for the tests wait for half of their time; in the order of
# tests/conftest.py. A worker that dies ends the run: xdist's replacement of it may wait without end.
WORKERS := $(shell expr $$(nproc) + 1)
PYTEST_PARALLEL := --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile \
	--no-loadscope-reorder --max-worker-restart 0

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
# pip would take as long again to compile it all on one core.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib

.PHONY: up test soak check fmt bench proto install install-dev system clean

up: $(VENV)/.installed
	$(BIN)/dormouse up --data $(DATA) --sql-port $(SQL_PORT) --api-port $(API_PORT) --demo

# A run starts hundreds of processes of ours. Each would compile all it imports where the
# environment says, as that of containers often does, that nothing compiled is kept.
test: export PYTHONDONTWRITEBYTECODE :=
test:
	$(MAKE) --jobs 2 --output-sync=target check system
	TMPDIR=$$(sh tests/scratch-folder.sh) $(BIN)/python -m pytest $(PYTEST_PARALLEL) $(PYTEST_ARGS)

# Three isolation levels under a hundred kill -9, and streams and disks that fail; some fifteen
# minutes. SOAK_ARGS, such as --seed 7 --kills 34 --level SERIALIZABLE.
soak: $(VENV)/.installed-dev
	$(BIN)/python -m tests.e2e.listappend.load $(SOAK_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m proto.generate --check
	$(BIN)/mypy --num-workers auto
	$(BIN)/lint-imports --no-cache

fmt: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(VENV)/.installed-dev
	$(BIN)/python -m proto.generate

# NAME is one of the benchmarks that `python -m bench --help` lists.
bench: $(VENV)/.installed-bench system
	$(BIN)/python -m bench $(or $(NAME),all)

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable .
	$(COMPILE)
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable '.[dev]'
	$(COMPILE)
	touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable '.[dev,bench]'
	$(COMPILE)
	touch $@ $(VENV)/.installed $(VENV)/.installed-dev

# PostgreSQL 15 is the oracle of the tests, node-postgres one of their clients, and Chromium sees the
# console.
system:
	sh tests/install-system.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
