#!/bin/sh
# Makes an environment with the engine alone, without the window: sh scripts/containers/install.sh FOLDER
# Wheels of the versions of the locks, installed only if their hashes stand there.
set -eu
python3 -m venv "$1"
python=$1/bin/python
wheels=$(mktemp -d)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=constraints.txt
"$python" -m pip wheel --quiet --only-binary :all: --wheel-dir "$wheels" .
mv "$wheels"/napari_stylegan3d-*.whl "$1"
"$python" - "$wheels" <<'PY' >"$wheels/locked.txt"
import re
import sys
from pathlib import Path

locks = "".join(Path(f"locks/{name}.lock").read_text() for name in ("run", "torch", "cuda"))
entries = {text.partition("==")[0]: text for text in re.split(r"(?m)^(?=[a-z0-9])", locks)}
names = [path.name.partition("-")[0] for path in sorted(Path(sys.argv[1]).glob("*.whl"))]
print("".join(entries[re.sub(r"[-_.]+", "-", name).lower()] for name in names))
PY
install() { "$python" -m pip install --quiet --no-index --no-deps "$@"; }
install --require-hashes --find-links "$wheels" --requirement "$wheels/locked.txt"
install "$1"/napari_stylegan3d-*.whl
rm -r "$wheels" "$1"/napari_stylegan3d-*.whl
"$python" -m pip check
