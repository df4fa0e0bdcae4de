# `make run` opens the explorer, `make test` runs every test. The first call of any target makes .venv
# (scripts/setup.sh); later calls find it ready.
#
#   make run ARGS=--timing            options for the program behind the target
#   make test ARGS="tests/gui -x"
#   make soak ARGS="-k killed"
#   make run PYTHON=python3.12        the Python that .venv is made with
#   make run PIP_ARGS="..."           extra options for pip while .venv is made

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
TOUR  := tour-output
ARGS  ?=
PYTHON   ?=
PIP_ARGS ?=
# Tests of a file, or of a folder that shares a window, run in one process, several of these beside
# each other: two more than there are cores, since tests of the window wait much of their time.
CORES    := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
WORKERS  ?= -n $(shell expr $(CORES) + 2) --maxprocesses 4 --dist loadscope --no-loadscope-reorder --max-worker-restart 3

.DEFAULT_GOAL := help
.PHONY: help setup run test soak bench lint docs release clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## Make .venv and stop

# A checkout that was moved has an environment that still points to its old place.
ifneq ($(shell cat $(READY) 2>/dev/null),$(realpath .))
.PHONY: $(READY)
endif

# Written last: an interrupted set-up is taken up again by the next call.
$(READY): setup.cfg pyproject.toml locks/run.lock locks/torch.lock locks/cuda.lock scripts/setup.sh
	@PYTHON="$(PYTHON)" PIP_ARGS="$(PIP_ARGS)" sh scripts/setup.sh $(VENV)
	@pwd -P > $@

run: $(READY)  ## Open the explorer; without a screen, walk through it and leave pictures
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
		exec $(BIN)/napari-stylegan3d $(ARGS); \
	fi; \
	echo "No display here: walking through the explorer on a virtual screen instead."; \
	exec $(BIN)/python scripts/tour.py --out $(TOUR) $(ARGS)

# Dozens of tests start processes of their own, which need not compile the sources each time, and
# pytest keeps what it made of the files of tests for the next run.
test soak: export PYTHONDONTWRITEBYTECODE =

test: $(READY)  ## Run all tests
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

soak: $(READY)  ## What is slow or hostile by nature: spoiled files, work that is killed, a long day of the window
	-$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) \
		--require-hashes --only-binary :all: --no-deps --requirement locks/soak.lock
	$(BIN)/python -m pytest $(WORKERS) --timeout 0 -o faulthandler_timeout=0 --soak $(ARGS)

bench: $(READY)  ## Measure speed on this machine
	$(BIN)/python benchmarks/speed.py $(ARGS)

lint: $(READY)  ## Check style, types and the order of the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2
	$(BIN)/lint-imports

docs: $(READY)  ## Pictures and notebooks of the documents anew, then their site in build/site
	rm -rf $(TOUR) && mkdir $(TOUR)
	$(BIN)/python scripts/tour.py --virtual --out $(TOUR) $(ARGS)
	@for picture in $$(grep -roh 'images/[a-z0-9-]*\.png' README.md docs --include '*.md' | sort -u); do \
		name=$${picture##*/}; made=$$(ls $(TOUR)/$$name $(TOUR)/[0-9][0-9]-$$name 2>/dev/null); \
		[ -z "$$made" ] || cp $$made docs/images/$$name; \
	done
	$(BIN)/python scripts/tour.py --virtual --out $(TOUR) --gif docs/images/tour.gif
	cp docs/notebooks/*.ipynb $(TOUR)
	cd $(TOUR) && PATH="$(realpath .)/$(BIN):$$PATH" jupyter execute --inplace *.ipynb
	cp $(TOUR)/*.ipynb docs/notebooks
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c scripts/site -b html docs build/site
	@echo "build/site/index.html"

release: $(READY)  ## Wheels, sources, list of parts, licences and checksums in dist/; looks for known weaknesses
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python scripts/models_wheel.py --out dist
	sh scripts/tools.sh
	.venv-tools/bin/cyclonedx-py requirements locks/run.lock --validate --output-file dist/parts.cdx.json
	$(BIN)/pip-licenses --format=markdown --with-urls --output-file dist/LICENCES.md
	.venv-tools/bin/pip-audit --require-hashes --disable-pip --requirement locks/run.lock
	cd dist && sha256sum * > SHA256SUMS

clean:  ## Remove .venv and everything the targets left
	rm -rf $(VENV) .venv-tools build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache $(TOUR)
