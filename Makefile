# Two commands do everything: `make run` and `make test`. Each sets up what it needs first, once.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test test-drill test-browser test-colab test-oldest test-jax lab app serve notebooks \
	exercises data doctor wheel links clean

VENV := .venv
BIN := $(VENV)/bin
# Three stamps, each touched at the very end: an installation that was cut off is done again.
READY := $(VENV)/.ready
LAB_READY := $(VENV)/.ready-lab
TEST_READY := $(VENV)/.ready-test
# The first Python of a version that TensorFlow has wheels for; `make PYTHON=python3.12 run` overrides.
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c "$(IN_RANGE)" 2>/dev/null && { command -v $$p; break; }; done)

FOUND = $(shell $(or $(PYTHON),python3) --version 2>&1 | head -n 1)
REFUSAL = cifar-notebooks needs Python 3.11, 3.12 or 3.13 and found $(FOUND): install one, or name \
it, as in `make PYTHON=/path/to/python3.12 $(or $(MAKECMDGOALS),run)`.

# uv installs several times as fast as pip, where it is on the PATH.
UV := $(shell command -v uv 2>/dev/null)
# $(call venv,FOLDER) makes an empty environment; $(call pip,FOLDER) installs into one.
venv = rm -rf $(1) && $(if $(UV),$(UV) venv --quiet --seed --python '$(PYTHON)' $(1),'$(PYTHON)' -m venv $(1))
pip = $(if $(UV),$(UV) pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip install --disable-pip-version-check)

# tensorflow-cpu has half the download and half the import time, but wheels for x86-64 Linux only.
TENSORFLOW = $(shell if [ "$$(uname -sm)" != "Linux x86_64" ]; then echo tensorflow; \
	elif nvidia-smi -L 2>/dev/null | grep -q GPU; then echo 'tensorflow[and-cuda]'; \
	else echo tensorflow-cpu; fi)

# Without it, an upload above 10 MB ends the connection: the photo vanishes without a word.
LARGE_UPLOADS := "{'websocket_max_message_size': 104857600}"

# More environments: Colab's versions; the oldest that pyproject.toml allows; JAX and no TensorFlow.
COLAB := .venv-colab
OLDEST := .venv-oldest
JAX := .venv-jax
# What no library of another version reaches, or what needs JupyterLab, is left out.
COLAB_TESTS := tests/docs/test_environment.py tests/unit tests/contract/test_widget.py
OLDEST_TESTS := tests/docs/test_environment.py tests/unit/apps/test_colab.py \
	tests/unit/models tests/unit/training tests/unit/inference

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' $(MAKEFILE_LIST) | \
		awk '{ printf "  %s %-13s", $$1, $$2; $$1 = $$2 = ""; print }'

run: $(READY)  ## run the five notebooks and write a report; ARGS="--recipe baseline" adds options
	@$(BIN)/python -m cifar_utils run $(ARGS)

test: $(TEST_READY)  ## run all tests: pytest, nbval, the pipeline with small parameters
	@$(BIN)/python -m pytest -m "not browser and not jax and not drill" $(ARGS)

test-drill: $(TEST_READY)  ## kill a run 20 times and resume it: the same end every time
	@$(BIN)/python -m pytest -m drill $(ARGS)

test-browser: $(TEST_READY) $(COLAB)/.ready  ## run the tests that look through a real Chromium
	@CIFAR_COLAB_PYTHON=$(COLAB)/bin/python $(BIN)/python -m pytest -m browser tests/browser $(ARGS)

test-colab: $(COLAB)/.ready test-oldest  ## run the notebooks and what matters with Colab's versions
	@CIFAR_CONSTRAINTS=constraints-colab.txt $(COLAB)/bin/python -m pytest \
		-m "not slow and not onnx" $(COLAB_TESTS) $(ARGS)
	@$(COLAB)/bin/python -m pytest tests/notebooks/test_nbval.py $(ARGS)

test-oldest: $(OLDEST)/.ready  ## a smaller check with the oldest versions that are supported
	@CIFAR_CONSTRAINTS=constraints-oldest.txt $(OLDEST)/bin/python -m pytest \
		-m "not slow and not onnx" $(OLDEST_TESTS) $(ARGS)

test-jax: $(TEST_READY) $(JAX)/.ready  ## train every recipe with JAX and no TensorFlow, and compare
	@CIFAR_JAX_PYTHON=$(JAX)/bin/python $(BIN)/python -m pytest -m jax tests/backends $(ARGS)

lab: $(LAB_READY)  ## open JupyterLab on the notebooks
	@$(BIN)/jupyter lab --notebook-dir=. --ServerApp.tornado_settings=$(LARGE_UPLOADS) \
		notebooks/01_data_exploration.ipynb $(ARGS)

app: $(LAB_READY)  ## open the classifier alone, as a page of its own
	@$(BIN)/voila cifar_utils/apps/app.ipynb --Voila.tornado_settings=$(LARGE_UPLOADS) $(ARGS)

serve: $(READY)  ## show the page on localhost:5678; ARGS="--port 8080" adds options
	@$(BIN)/python -m cifar_utils serve $(ARGS)

notebooks: $(READY)  ## execute the committed notebooks again, in place
	@$(BIN)/python -m cifar_utils notebooks

exercises: $(READY)  ## copy the notebooks to exercises/, without solutions and outputs
	@$(BIN)/python -m cifar_utils exercises

data: $(READY)  ## show what data was found, and where
	@$(BIN)/python -m cifar_utils data

doctor: $(READY)  ## check this machine, and say how long each recipe takes on it
	@$(BIN)/python -m cifar_utils doctor

wheel: $(READY)  ## build dist/cifar_notebooks-*.whl, to upload to Colab
	@rm -rf build dist/cifar_notebooks-*.whl  # setuptools would pack what an older build left there
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir dist .
	@ls dist/cifar_notebooks-*.whl

links: $(READY)  ## write set-up cell, badge and the project's address into the notebooks
	@$(BIN)/python -m cifar_utils links

clean:  ## remove the environments; runs and data stay
	rm -rf $(VENV) $(COLAB) $(OLDEST) $(JAX)

$(READY): pyproject.toml constraints.txt
	@$(if $(PYTHON),,echo '$(REFUSAL)'; exit 1;) $(PYTHON) -c "$(IN_RANGE)" 2>/dev/null || { echo '$(REFUSAL)'; exit 1; }
	@if [ "$$(uname -sm)" = "Darwin x86_64" ]; then \
		echo "TensorFlow has no builds for Macs with Intel processors any more: use Linux, a newer Mac, or Colab."; \
		exit 1; fi
	@echo "Setting up $(VENV) with $(PYTHON): about 1.5 GB on disk, once."
	@$(call venv,$(VENV)) || { echo "Python's venv module is incomplete. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@$(call pip,$(VENV)) --constraint constraints.txt '$(TENSORFLOW)' --editable '.[run,web,heic]'
	@touch $@
	@echo "Ready."

$(LAB_READY): $(READY)
	@$(call pip,$(VENV)) --constraint constraints.txt --editable '.[lab]'
	@touch $@

$(TEST_READY): $(LAB_READY)
	@$(call pip,$(VENV)) --constraint constraints.txt --editable '.[dev,onnx]'
	@touch $@

# As Colab does it: first what Colab brings, then the package alone, then what is missing. Colab has
# Python 3.13; these versions install on 3.11 and 3.12 too.
$(COLAB)/.ready: pyproject.toml constraints-colab.txt
	@$(call venv,$(COLAB))
	@$(call pip,$(COLAB)) --constraint constraints-colab.txt $(subst [and-cuda],-cpu,$(TENSORFLOW)) \
		$(shell sed -n 's/^# installed: //p' constraints-colab.txt) pytest hypothesis nbval 'setuptools>=77'
	@$(call pip,$(COLAB)) --no-deps --no-build-isolation --editable .
	@$(COLAB)/bin/python -c "import sys; sys.modules['google.colab'] = sys; \
		from cifar_utils.apps.colab import set_up_colab; set_up_colab()"
	@touch $@

# TensorFlow of that age has no wheels for Python 3.13.
$(OLDEST)/.ready: pyproject.toml constraints-oldest.txt
	@for p in '$(PYTHON)' python3.11 python3.12; do \
		if "$$p" -c 'import sys; sys.exit(sys.version_info[:2] > (3, 12))' 2>/dev/null; then \
			rm -rf $(OLDEST); "$$p" -m venv $(OLDEST); exit; fi; \
	done; echo "The oldest versions need Python 3.11 or 3.12."; exit 1
	@$(call pip,$(OLDEST)) --constraint constraints-oldest.txt \
		$(subst [and-cuda],-cpu,$(TENSORFLOW)) --editable . pytest hypothesis setuptools
	@touch $@

$(JAX)/.ready: pyproject.toml constraints.txt
	@$(call venv,$(JAX))
	@$(call pip,$(JAX)) --constraint constraints.txt --editable '.[jax,run]'
	@touch $@
