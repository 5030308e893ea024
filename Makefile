# Two commands for newcomers: `make demo` and `make test`. Both set up all they need in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
NAME ?= all

.PHONY: demo test lint bench counts wheelhouse clean

demo: $(VENV)/.demo  ## run the quick-start study on this machine and write report.html
	$(BIN)/wattlaw study run quickstart -o demo --report report.html

test: $(VENV)/.dev  ## lint, types, floors and all tests that can run here; DEPTH=full for everything
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python tests/check.py

lint: $(VENV)/.dev
	$(BIN)/python tests/check.py --only-static

bench: $(VENV)/.dev  ## make bench NAME=import
	$(BIN)/python bench/run.py $(NAME)

counts: $(VENV)/.dev  ## count the parameters, flop and bytes of every workload again
	$(BIN)/python -m wattlaw.workloads.make_counts

wheelhouse:  ## every wheel that an offline machine needs, in build/wheelhouse
	$(PYTHON) -m pip download -c constraints.txt -d build/wheelhouse ".[all]"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) demo report.html build
