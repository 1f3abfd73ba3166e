PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SETUP := $(VENV)/.ready
DEMO := outputs/demo
INSTALLER ?= pip
# One more than cores, 8 at most: some tests wait for servers and clusters.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(8, 1 + (os.cpu_count() or 1)))")
INSTALL_pip := $(RUN) -m pip install --quiet
INSTALL_uv := $(VENV)/bin/uv pip install --quiet --python $(RUN)
UV ?= $(if $(wildcard $(VENV)/bin/uv),$(VENV)/bin/uv,uv)

.PHONY: help setup lock test lint docs demo bench gpu attack release clean

help:  ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(SETUP)  ## Make .venv and install everything, pinned; INSTALLER=uv takes uv in place of pip

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -c constraints.txt pip $(filter uv,$(INSTALLER))
	PYTHONWARNINGS=ignore $(INSTALL_$(INSTALLER)) -c constraints.txt --build-constraint constraints.txt \
	  -e ".[all]" --group dev --group docs --config-settings editable_mode=compat
	touch $@

lock:  ## Make constraints.txt anew from pyproject.toml, keeping its versions; LOCK=--upgrade takes the latest ones
	UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.10 --no-annotate \
	  --all-extras --group dev --group docs $(LOCK) -o constraints.txt pyproject.toml

test: $(SETUP)  ## Run the tests; PYTEST="-W default" adds options of pytest
	$(RUN) -m pytest $(PYTEST) -n $(WORKERS) --dist=loadfile --no-loadscope-reorder

lint: $(SETUP)  ## Check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

docs: $(SETUP)  ## Build the site in docs/_build/html; DOCS=--quick leaves the notebooks' results out
	$(RUN) -m docs.site $(DOCS)

demo: $(SETUP)  ## Train a steering policy, compare it with random proposals, write a report
	$(RUN) -m experiments.train folder=$(DEMO)/learned agent=planning episodes=256 overwrite=true
	$(RUN) -m experiments.evaluate folder=$(DEMO)/table overwrite=true tasks=128 \
	  'policies=[random-bucket,$(DEMO)/learned]'

bench: $(SETUP)  ## Measure the environment's speed against a plain loop
	$(RUN) -m experiments.bench

attack: $(SETUP)  ## Try to break what the project promises, and count what fails; 15 minutes on 2 cores
	$(RUN) -m experiments.attack folder=outputs/attack overwrite=true

gpu:  ## Measure what a GPU can do, in 8 minutes at most; writes docs/gpu.md
	$(if $(wildcard $(RUN)),$(RUN),$(PYTHON)) -m experiments.speed page=docs/gpu.md

release: $(SETUP)  ## Check and build dist/; VERSION=0.2.0 first writes that version and today's date into the files
	$(if $(VERSION),$(RUN) .ci/bump.py $(VERSION))
	bash .ci/release

clean:  ## Remove the environment and all outputs
	rm -rf $(VENV) outputs
