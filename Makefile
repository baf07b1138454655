# Two commands do everything: `make run` and `make test`. Both set up .venv first, once.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test lab notebooks data doctor clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first Python of a version that TensorFlow has wheels for; `make PYTHON=python3.12 run` overrides.
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c "$(IN_RANGE)" 2>/dev/null && { command -v $$p; break; }; done)

FOUND = $(shell $(or $(PYTHON),python3) --version 2>&1 | head -n 1)
REFUSAL = cifar-notebooks needs Python 3.11, 3.12 or 3.13 and found $(FOUND): install one, or name \
it, as in `make PYTHON=/path/to/python3.12 $(or $(MAKECMDGOALS),run)`.

# tensorflow-cpu has half the download and half the import time, but wheels for x86-64 Linux only.
TENSORFLOW = $(shell if [ "$$(uname -sm)" != "Linux x86_64" ]; then echo tensorflow; \
	elif nvidia-smi -L 2>/dev/null | grep -q GPU; then echo 'tensorflow[and-cuda]'; \
	else echo tensorflow-cpu; fi)

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' $(MAKEFILE_LIST) | \
		awk '{ printf "  %s %-10s", $$1, $$2; $$1 = $$2 = ""; print }'

run: $(READY)  ## run the five notebooks and write a report; ARGS="--recipe baseline" adds options
	@$(BIN)/python -m cifar_utils run $(ARGS)

test: $(READY)  ## run all tests: pytest, nbval, the pipeline with small parameters
	@$(BIN)/python -m pytest $(ARGS)

lab: $(READY)  ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab --notebook-dir=. notebooks/01_data_exploration.ipynb $(ARGS)

notebooks: $(READY)  ## execute the committed notebooks again, in place
	@$(BIN)/python -m cifar_utils notebooks

data: $(READY)  ## show what data was found, and where
	@$(BIN)/python -m cifar_utils data

doctor: $(READY)  ## check this machine, and say how long each recipe takes on it
	@$(BIN)/python -m cifar_utils doctor

clean:  ## remove the environment; runs and data stay
	rm -rf $(VENV)

# One stamp, touched at the very end: an installation that was cut off is done again.
$(READY): pyproject.toml constraints.txt
	@$(if $(PYTHON),,echo '$(REFUSAL)'; exit 1;) $(PYTHON) -c "$(IN_RANGE)" 2>/dev/null || { echo '$(REFUSAL)'; exit 1; }
	@if [ "$$(uname -sm)" = "Darwin x86_64" ]; then \
		echo "TensorFlow has no builds for Macs with Intel processors any more: use Linux, a newer Mac, or Colab."; \
		exit 1; fi
	@echo "Setting up $(VENV) with $(PYTHON): about 2 GB on disk, once."
	@$(PYTHON) -m venv --clear $(VENV) || { echo "Python's venv module is incomplete. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt \
		'$(TENSORFLOW)' --editable '.[lab,dev]'
	@touch $@
	@echo "Ready."
