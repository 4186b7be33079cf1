# Everything runs in .venv, made on first use. `make demo` and `make test` are all that a newcomer needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := outputs/demo

.PHONY: demo test format

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(INSTALLED)

# From nothing to a page: BERT4Rec on MovieLens-100K, 20 people explained. A second time only what is missing is done.
demo: $(INSTALLED)
	$(BIN)/recexplain train out=$(DEMO)
	$(BIN)/recexplain explain checkpoint=$(DEMO)/checkpoint.ckpt limit=20 out=$(DEMO)
	@echo $(DEMO)/index.html

# The gate: format, lint, types, tests.
test: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy recexplain training eval
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 # two processes, each on a core of its own

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
