# `make run` opens the explorer, `make test` runs every test. The first call of any target makes .venv
# (scripts/setup.sh); later calls find it ready.
#
#   make run ARGS=--timing            options for the program behind the target
#   make test ARGS="tests/gui -x"
#   make soak FUZZ="--count 100 --readers latent" ARGS="--small --minutes 5"
#   make run PYTHON=python3.12        the Python that .venv is made with
#   make run PIP_ARGS="..."           extra options for pip while .venv is made
#   make lock ARGS=--upgrade          newer versions of the packages in the lock

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := .venv-tools
TOUR  := tour-output
ARGS  ?=
PYTHON   ?=
PIP_ARGS ?=
# A file of tests runs in one process, several files beside each other: one more than there are
# cores, since tests of the window wait much of their time.
CORES    := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
WORKERS  ?= -n $(shell expr $(CORES) + 1) --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart 3

.DEFAULT_GOAL := help
.PHONY: help setup run test bench soak lint format docs site notebooks lock licences audit sbom release clean

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

test: $(READY)  ## Run all tests
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

bench: $(READY)  ## Measure speed on this machine
	$(BIN)/python benchmarks/speed.py $(ARGS)

soak: $(READY)  ## Spoiled files, a long day of the window, work that is killed (hours)
	$(BIN)/python benchmarks/fuzz.py $(FUZZ)
	-$(BIN)/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) \
		--require-hashes --only-binary :all: --no-deps --requirement locks/soak.lock
	@if $(BIN)/python -c 'import atheris' 2>/dev/null; then $(BIN)/python benchmarks/guided.py $(GUIDED); \
	else echo "Coverage-guided fuzzing needs atheris, which is not there: left out."; fi
	$(BIN)/python benchmarks/soak.py $(ARGS)
	$(BIN)/python benchmarks/soak.py --windows 3
	$(BIN)/python benchmarks/kills.py $(KILLS)

lint: $(READY)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## Bring the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The curves of the projectors and the montage of own noise take minutes: `benchmarks/projection.py curves SCANS`
# and `benchmarks/own_noise.py --montage` draw them.
docs: $(READY)  ## Take the pictures of the documents anew, check their links and examples
	rm -rf $(TOUR)
	$(BIN)/python scripts/tour.py --virtual --out $(TOUR) $(ARGS)
	$(BIN)/python benchmarks/operator_pictures.py --out $(TOUR)
	@for picture in $$(grep -oh 'images/[a-z0-9-]*\.png' README.md docs/*.md | grep -v -e projection-curves -e own-noise | sort -u); do \
		name=$${picture##*/}; \
		cp $$(ls $(TOUR)/$$name $(TOUR)/[0-9][0-9]-$$name 2>/dev/null) docs/images/$$name || exit 1; \
	done
	$(BIN)/python scripts/tour.py --virtual --out $(TOUR) --gif docs/images/tour.gif
	$(BIN)/python scripts/tour.py --virtual --screens docs
	for scale in 1.0 1.5 2.0; do $(BIN)/python scripts/tour.py --virtual --screens docs --scale $$scale || exit 1; done
	$(BIN)/python -m pytest tests/test_docs.py

site: $(READY)  ## Make a site of the documents in build/site, without a network
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c scripts/site -b html docs build/site
	@echo "build/site/index.html"

notebooks: $(READY)  ## Run the notebooks of the documents anew
	$(BIN)/python scripts/notebooks.py $(ARGS)

# The programs that renew the lock and look for advisories, apart from the product's own packages.
# Any Python will do for them: a lock can be renewed while .venv does not satisfy setup.cfg yet.
$(TOOLS)/.ready: locks/tools.lock | $(BIN)/python
	$(BIN)/python -m venv --clear $(TOOLS)
	$(TOOLS)/bin/python -m pip install --disable-pip-version-check --quiet $(PIP_ARGS) \
		--require-hashes --only-binary :all: --no-deps --requirement locks/tools.lock
	@touch $@

$(BIN)/python:
	$(MAKE) setup

lock: $(TOOLS)/.ready  ## Renew the locks after a change in setup.cfg
	$(TOOLS)/bin/python scripts/lock.py --uv $(TOOLS)/bin/uv --pip-args="$(PIP_ARGS)" $(ARGS)
	$(MAKE) licences

licences: $(READY)  ## List the licences of all packages in docs/licences.md
	$(BIN)/python scripts/licences.py --pip-args="$(PIP_ARGS)"

audit: $(TOOLS)/.ready  ## Look for published weaknesses of the packages in the lock
	$(BIN)/python scripts/audit.py --pip-audit $(TOOLS)/bin/pip-audit $(ARGS)

sbom: $(READY) $(TOOLS)/.ready  ## Write dist/*.cdx.json: what the product consists of
	$(BIN)/python scripts/sbom.py --out dist
	$(TOOLS)/bin/python scripts/check_sbom.py dist

release: $(READY)  ## Build the wheels, the archive of the sources, the list of parts and their checksums in dist/
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python scripts/models_wheel.py --out dist
	$(MAKE) sbom
	cd dist && sha256sum * > SHA256SUMS

clean:  ## Remove .venv and everything the targets left
	rm -rf $(VENV) $(TOOLS) build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache $(TOUR)
