# Two commands do everything: `make run` and `make test`. Both set up .venv first, once.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-colab test-jax lab app serve notebooks data doctor wheel links clean

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

# Without it, an upload above 10 MB ends the connection: the picture vanishes without a word.
LARGE_UPLOADS := "{'websocket_max_message_size': 104857600}"

# A second environment, as old as pyproject.toml allows: Colab brings its own versions. The list
# leaves out what needs JupyterLab, nbval or a shell, and what runs no library of another age.
COLAB := .venv-colab
COLAB_READY := $(COLAB)/.ready
COLAB_TESTS := colab widget inference models pictures training batches checkpoints \
	preprocessing evaluation plots files layers fast_network muon tta pretrained calibration views diagnosis

# A third one, with JAX and no TensorFlow.
JAX := .venv-jax
JAX_READY := $(JAX)/.ready

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' $(MAKEFILE_LIST) | \
		awk '{ printf "  %s %-13s", $$1, $$2; $$1 = $$2 = ""; print }'

run: $(READY)  ## run the five notebooks and write a report; ARGS="--recipe baseline" adds options
	@$(BIN)/python -m cifar_utils run $(ARGS)

test: $(READY)  ## run all tests: pytest, nbval, the pipeline with small parameters
	@$(BIN)/python -m pytest -m "not browser and not jax" $(ARGS)

test-browser: $(READY) $(COLAB_READY)  ## run the tests that look through a real Chromium
	@CIFAR_COLAB_PYTHON=$(COLAB)/bin/python $(BIN)/python -m pytest -m browser tests/browser $(ARGS)

test-colab: $(COLAB_READY)  ## run what matters in Colab with the oldest versions that are supported
	@$(COLAB)/bin/python -m pytest -m "not slow and not onnx" $(wildcard $(COLAB_TESTS:%=tests/*/test_%.py) $(COLAB_TESTS:%=tests/*/*/test_%.py) $(COLAB_TESTS:%=tests/test_%.py)) $(ARGS)

test-jax: $(READY) $(JAX_READY)  ## train every recipe with JAX and no TensorFlow, and compare
	@CIFAR_JAX_PYTHON=$(JAX)/bin/python $(BIN)/python -m pytest -m jax tests/backends $(ARGS)

lab: $(READY)  ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab --notebook-dir=. --ServerApp.tornado_settings=$(LARGE_UPLOADS) \
		notebooks/01_data_exploration.ipynb $(ARGS)

app: $(READY)  ## open the classifier alone, as a page of its own
	@$(BIN)/voila cifar_utils/apps/app.ipynb --Voila.tornado_settings=$(LARGE_UPLOADS) $(ARGS)

serve: $(READY)  ## show the page on localhost:5678; ARGS="--port 8080" adds options
	@$(BIN)/python -m cifar_utils serve $(ARGS)

notebooks: $(READY)  ## execute the committed notebooks again, in place
	@$(BIN)/python -m cifar_utils notebooks

data: $(READY)  ## show what data was found, and where
	@$(BIN)/python -m cifar_utils data

doctor: $(READY)  ## check this machine, and say how long each recipe takes on it
	@$(BIN)/python -m cifar_utils doctor

wheel: $(READY)  ## build dist/cifar_notebooks-*.whl, to upload to Colab
	@rm -rf build dist/cifar_notebooks-*.whl  # setuptools would pack what an older build left there
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir dist .
	@ls dist/cifar_notebooks-*.whl

links: $(READY)  ## write the project's address from pyproject.toml into the notebooks
	@$(BIN)/python -m cifar_utils links

clean:  ## remove the environments; runs and data stay
	rm -rf $(VENV) $(COLAB) $(JAX)

# One stamp, touched at the very end: an installation that was cut off is done again.
$(READY): pyproject.toml constraints.txt
	@$(if $(PYTHON),,echo '$(REFUSAL)'; exit 1;) $(PYTHON) -c "$(IN_RANGE)" 2>/dev/null || { echo '$(REFUSAL)'; exit 1; }
	@if [ "$$(uname -sm)" = "Darwin x86_64" ]; then \
		echo "TensorFlow has no builds for Macs with Intel processors any more: use Linux, a newer Mac, or Colab."; \
		exit 1; fi
	@echo "Setting up $(VENV) with $(PYTHON): about 2 GB on disk, once."
	@$(PYTHON) -m venv --clear $(VENV) || { echo "Python's venv module is incomplete. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt \
		'$(TENSORFLOW)' --editable '.[lab,web,dev,onnx,heic]'
	@touch $@
	@echo "Ready."

# TensorFlow of that age has no wheels for Python 3.13; Colab has 3.11 or 3.12 as well.
$(COLAB_READY): pyproject.toml constraints-colab.txt
	@for p in '$(PYTHON)' python3.11 python3.12; do \
		if "$$p" -c 'import sys; sys.exit(sys.version_info[:2] > (3, 12))' 2>/dev/null; then \
			"$$p" -m venv --clear $(COLAB); exit; fi; \
	done; echo "make test-colab needs Python 3.11 or 3.12, as Colab has."; exit 1
	@$(COLAB)/bin/python -m pip install --disable-pip-version-check --constraint constraints-colab.txt \
		$(subst [and-cuda],-cpu,$(TENSORFLOW)) --editable . pytest hypothesis setuptools nbclassic
	@touch $@

$(JAX_READY): pyproject.toml constraints.txt
	@$(PYTHON) -m venv --clear $(JAX)
	@$(JAX)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt \
		--editable '.[jax,lab]'
	@touch $@
