# Each target sets up what it needs in a fresh clone; `make` alone lists them.
PYTHON ?= python3
# Other data sets of digits and letters than EMNIST's own: EMNIST="--digits NAME --letters NAME".
EMNIST ?=
# Pages whose output is written by their own commands. The last three take half an hour, and need the data sets of
# docs/data.md.
MEASURED ?= README.md docs/tutorial.md docs/evaluation.md docs/inference.md docs/fine-tuning.md
DOWNLOAD := PyTorch alone is 200 MB, with CUDA several gigabytes
# On a full disk there is no room for what coverage itself writes.
FULL_DISK := tests/cli/test_tune.py::test_a_full_disk_loses_nothing_that_was_written
VENV   := .venv
BIN    := $(VENV)/bin
# One worker for each processor core: plain `pytest` runs in one process.
PYTEST := $(BIN)/pytest --numprocesses logical --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick coverage docs docs-test docs-measure reference lint format bench bench-peers models results torture dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.read ## read a photo; then train a network on real handwritten digits (half a minute, once installed)
	@$(BIN)/penstroke predict examples/seven.png
	@echo "next: $(BIN)/penstroke serve        # a page to draw on; training follows here"
	@$(MAKE) --no-print-directory $(VENV)/.train
	@$(BIN)/penstroke train --name demo --overwrite
	@echo "then: $(BIN)/penstroke serve demo   # the page, read by the new network"

test: $(VENV)/.dev ## run all tests (minutes); those on MNIST need PENSTROKE_DATA
	@scripts/system-packages.sh chromium postgresql
	@$(PYTEST)

test-quick: $(VENV)/.dev ## run the tests without those that kill, overload or open a browser
	@$(PYTEST) -m "not slow and not browser"

coverage: $(VENV)/.dev ## run all tests, and list which lines of src/ none of them runs
	@scripts/system-packages.sh chromium postgresql
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m $(notdir $(PYTEST)) --deselect $(FULL_DISK)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

docs: $(VENV)/.docs ## build the documentation site into site/, strictly
	@$(BIN)/python scripts/docs_site.py

docs-test: $(VENV)/.docs ## run the commands of README, tutorial and notebook (minutes; needs MNIST)
	@$(BIN)/python scripts/docs_test.py

docs-measure: $(VENV)/.docs ## write the output of commands into the pages (an hour; MEASURED="PAGE …" for less)
	@$(BIN)/python scripts/transcripts.py $(MEASURED) --write

reference: $(VENV)/.docs ## write docs/reference/, docs/figures/, the notebook and examples/ from the code
	@$(BIN)/python scripts/reference.py
	@$(BIN)/python scripts/figures.py
	@$(BIN)/python scripts/notebook.py
	@$(BIN)/python scripts/examples.py

lint: $(VENV)/.dev ## check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure speed and memory; writes docs/benchmarks.md (needs MNIST)
	@scripts/system-packages.sh apache2-utils
	@PYTHONPATH=scripts $(BIN)/python scripts/bench

bench-peers: ## set up the peers that bench measures beside ours (TensorFlow and more, 2 GB)
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/pip install --quiet numpy pillow "torch>=2.9,<2.14" skorch keras tensorflow-cpu \
	  "ray[tune]" keras-tuner tensorboard

models: $(VENV)/.dev ## make the bundled models and the ink segmenter (two hours; needs MNIST and EMNIST)
	@$(BIN)/python scripts/make_models.py $(EMNIST)
	@$(BIN)/python scripts/reference.py

results: $(VENV)/.dev ## repeat the published projects, presets and letters; writes docs/ (two hours and more)
	@$(BIN)/penstroke reproduce all presets --page docs/results.md $(EMNIST)
	@$(BIN)/penstroke reproduce letters --page docs/letters.md $(EMNIST)

torture: $(VENV)/.dev ## kill a search 200 times at random moments, and compare (an hour)
	@$(BIN)/python scripts/torture.py --kills 200

dist: $(VENV)/.dev ## build wheel and sdist, and use the wheel in empty environments: train, predict, serve
	@$(BIN)/python scripts/check_dist.py

clean: ## remove the environment and all caches; runs are kept
	rm -rf $(VENV) .venv-peers .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .cache dist site

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Penstroke needs Python 3.11 or newer; name one: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "no virtual environment: on Debian, as root: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.read: pyproject.toml | $(VENV)/bin/python
	@echo "installing Penstroke, to read and to serve, into $(VENV) (once): half a minute"
	@$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/.train: pyproject.toml | $(VENV)/bin/python
	@echo "installing Penstroke, to train, into $(VENV) (once): $(DOWNLOAD)"
	@$(BIN)/pip install --editable '.[train]'
	@touch $@ $(VENV)/.read

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing Penstroke with its development packages into $(VENV) (once): $(DOWNLOAD)"
	@$(BIN)/pip install --editable '.[dev]'
	@touch $@ $(VENV)/.read $(VENV)/.train $(VENV)/.docs

$(VENV)/.docs: pyproject.toml | $(VENV)/bin/python
	@echo "installing Penstroke with what the documentation needs into $(VENV) (once): $(DOWNLOAD)"
	@$(BIN)/pip install --editable '.[docs]'
	@touch $@ $(VENV)/.read $(VENV)/.train
