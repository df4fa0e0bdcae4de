#!/bin/sh
# The programs that renew the locks and describe a release, in an environment of their own.
set -eu
[ -x .venv-tools/bin/uv ] || python3 -m venv .venv-tools
.venv-tools/bin/python -m pip install --disable-pip-version-check --quiet --require-hashes --only-binary :all: \
    --no-deps --requirement locks/tools.lock
