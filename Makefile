# `make run` opens the explorer, `make test` runs every test. The first call of any target makes .venv
# (scripts/setup.sh); later calls find it ready.
#
#   make run ARGS=--timing            options for the program behind the target
#   make test ARGS="tests/gui -x"
#   make run PYTHON=python3.12        the Python that .venv is made with
#   make run PIP_ARGS="..."           extra options for pip while .venv is made

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
TOUR  := tour-output
ARGS  ?=
PYTHON   ?=
PIP_ARGS ?=
# A file of tests runs in one process, several files beside each other.
WORKERS  ?= -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup run test bench lint format docs pins clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## Make .venv and stop

# A checkout that was moved has an environment that still points to its old place.
ifneq ($(shell cat $(READY) 2>/dev/null),$(realpath .))
.PHONY: $(READY)
endif

# Written last: an interrupted set-up is taken up again by the next call.
$(READY): setup.cfg pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" PIP_ARGS="$(PIP_ARGS)" sh scripts/setup.sh $(VENV)
	@pwd -P > $@

run: $(READY)  ## Open the explorer; without a screen, walk through it and leave pictures
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] || [ "$$(uname)" = Darwin ]; then \
		exec $(BIN)/napari-stylegan3d $(ARGS); \
	fi; \
	echo "No display here: walking through the explorer on a virtual screen instead."; \
	exec $(BIN)/stylegan3d-tour --out $(TOUR) $(ARGS)

test: $(READY)  ## Run all tests
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

bench: $(READY)  ## Measure speed on this machine
	$(BIN)/python benchmarks/speed.py $(ARGS)

lint: $(READY)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## Bring the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The curves of the projectors take minutes: `benchmarks/projection.py curves SCANS` draws them.
docs: $(READY)  ## Take the pictures of the documents anew, check their links and examples
	rm -rf $(TOUR)
	$(BIN)/stylegan3d-tour --virtual --out $(TOUR) $(ARGS)
	$(BIN)/python benchmarks/operator_pictures.py --out $(TOUR)
	@for picture in $$(grep -oh 'images/[a-z0-9-]*\.png' README.md docs/*.md | grep -v projection-curves | sort -u); do \
		name=$${picture##*/}; \
		cp $$(ls $(TOUR)/$$name $(TOUR)/[0-9][0-9]-$$name 2>/dev/null) docs/images/$$name || exit 1; \
	done
	$(BIN)/python -m pytest tests/test_docs.py

# Local labels of builds (torch's +cpu) are no part of the pin: any build of that version will do.
pins: $(READY)  ## Pin what .venv holds now in constraints.txt
	@{ sed -n '/^#/p' constraints.txt; \
		$(BIN)/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+[a-z0-9.]*$$//' | sort -f; \
	} > constraints.tmp && mv constraints.tmp constraints.txt

clean:  ## Remove .venv and everything the targets left
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache $(TOUR)
