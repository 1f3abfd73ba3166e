PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SETUP := $(VENV)/.ready
DEMO := outputs/demo

.PHONY: help setup test lint demo bench gpu clean

help:  ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(SETUP)  ## Make .venv and install everything, pinned

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -c constraints.txt -e ".[dev]" --config-settings editable_mode=compat
	touch $@

test: $(SETUP)  ## Run the tests
	$(RUN) -m pytest -m "not slow" -n auto --maxprocesses=8 --dist=loadfile
	$(RUN) -m pytest -m slow

lint: $(SETUP)  ## Check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

demo: $(SETUP)  ## Train a steering policy, compare it with random proposals, write a report
	$(RUN) -m experiments.train folder=$(DEMO)/learned agent=planning episodes=512 overwrite=true
	$(RUN) -m experiments.evaluate folder=$(DEMO)/table overwrite=true tasks=240 \
	  'policies=[random-bucket,$(DEMO)/learned]'

bench: $(SETUP)  ## Measure the environment's speed against a plain loop
	$(RUN) -m experiments.bench

gpu:  ## Measure what a GPU can do, in 8 minutes at most; writes docs/gpu.md
	$(if $(wildcard $(RUN)),$(RUN),$(PYTHON)) -m experiments.speed page=docs/gpu.md

clean:  ## Remove the environment and all outputs
	rm -rf $(VENV) outputs
