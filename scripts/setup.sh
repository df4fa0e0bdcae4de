#!/bin/sh
# Makes the virtual environment the Makefile works in: system packages, Python, the packages of the lock,
# both of ours in editable form. Safe to run again, also after it was interrupted.
#
#   PYTHON=python3.12 PIP_ARGS="..." sh scripts/setup.sh .venv [torch]
#
# With `torch` only that is installed, into an environment that is there.
set -eu
venv=$1
here=$(pwd -P)

say() { printf 'setup: %s\n' "$*" >&2; }

# What Qt's xcb platform plugin, OpenGL in software and a virtual screen need on a bare Debian or Ubuntu.
system_packages() {
    glib=libglib2.0-0
    if apt-cache show libglib2.0-0t64 >/dev/null 2>&1; then glib=libglib2.0-0t64; fi
    echo "xvfb libegl1 libgl1 $glib libfontconfig1 libdbus-1-3 libxkbcommon-x11-0 libxcb-cursor0" \
        "libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxcb-xkb1"
    # Debian splits venv off from Python.
    if ! ${PYTHON:-python3} -c 'import ensurepip' >/dev/null 2>&1; then echo python3-venv; fi
}

missing_packages() {
    for package in $(system_packages); do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    done
}

install_system_packages() {
    [ "$(uname)" = Linux ] || return 0
    if ! command -v apt-get >/dev/null; then
        command -v Xvfb >/dev/null || say "the window needs OpenGL and Qt's xcb libraries, its tests Xvfb:" \
            "the packages that Debian calls" $(system_packages)
        return 0
    fi
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "the window and its tests need system packages; install them once with:" \
            "sudo apt-get install" $missing
        return 0
    fi
    say "installing system packages:" $missing
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && missing=$(missing_packages) \
        && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 $missing >/dev/null \
        || say "apt-get failed, so the window and its tests may not start; still to install:" $missing
}

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "Python 3.11 or newer is needed; install it, or name one: make PYTHON=/path/to/python3.12"
    return 1
}

# A package whose installation was cut off has its metadata folder but not yet its RECORD: pip would
# take it for installed, so it is removed.
drop_half_installed() {
    "$venv/bin/python" - <<'PY'
import importlib.metadata
import shutil
import sys

for distribution in importlib.metadata.distributions():
    folder = distribution._path
    if folder.suffix == ".dist-info" and folder.is_relative_to(sys.prefix):
        if not (folder / "RECORD").exists():
            shutil.rmtree(folder)
PY
}

make_venv() {
    # Scripts in an environment hold its place, so one that was moved or copied is made anew.
    if [ -f "$venv/.place" ] && [ "$(cat "$venv/.place")" != "$here" ]; then
        say "the checkout has moved: making $venv anew"
        rm -rf "$venv"
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python)
        say "making $venv with $("$python" --version)"
        "$python" -m venv --clear "$venv"
    fi
    echo "$here" >"$venv/.place"
}

# Wheels whose hashes stand in the lock and nothing else, so nothing of a stranger's runs while they are
# installed. pip asks for no dependencies: the locks name them all, `pip check` makes sure.
install_locked() {
    lock=$1
    shift
    "$venv/bin/python" -m pip install --disable-pip-version-check ${CI:+--quiet} --no-compile "$@" \
        --require-hashes --only-binary :all: --no-deps --requirement "$lock"
}

# Which build of torch it is, with CUDA or without, is the machine's choice: one that is there stays, and
# otherwise pip picks one as its settings here say. The lock holds the hashes of all builds that will do.
install_torch() {
    pin=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' locks/torch.lock)
    version=$("$venv/bin/python" -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null) || version=
    [ "torch==${version%%+*}" != "$pin" ] || return 0
    rm -rf "$venv/wheels"
    "$venv/bin/python" -m pip download --disable-pip-version-check ${CI:+--quiet} ${PIP_ARGS:-} \
        --only-binary :all: --no-deps --dest "$venv/wheels" "$pin"
    if ! install_locked locks/torch.lock --no-index --find-links "$venv/wheels"; then
        say "locks/torch.lock has no hash of this build of torch ($(ls "$venv/wheels")): if you trust where it" \
            "comes from, install it with $venv/bin/python -m pip and run make again"
        return 1
    fi
    rm -rf "$venv/wheels"
}

# All of it, in two halves beside each other, since one pip works on one core.
install_all() {
    halves=$(mktemp -d)
    awk -v to="$halves" '/^[a-z0-9]/ { half = !half } { print > (to "/" half) }' locks/run.lock
    # What runs in the background does not hear Ctrl-C.
    trap 'trap - INT; kill 0' INT
    (install_torch; install_locked "$halves/0" ${PIP_ARGS:-}) &
    first=$!
    (install_locked "$halves/1" ${PIP_ARGS:-}) &
    second=$!
    failed=
    wait $first || failed=1
    wait $second || failed=1
    trap - INT
    rm -r "$halves"
    [ -z "$failed" ]
}

# torch's ordinary build for Linux loads CUDA's libraries, its CPU build has no use for them.
torch_needs_cuda() {
    "$venv/bin/python" - <<'PY'
import importlib.metadata
import sys

needed = importlib.metadata.requires("torch") or []
sys.exit(not any(name.startswith(("nvidia-", "cuda-", "triton")) for name in needed))
PY
}

if [ "${2:-}" = torch ]; then install_torch; exit; fi
install_system_packages
make_venv
drop_half_installed
say "installing the locked Python packages (minutes, and 2 GB or more, the first time)"
install_all
if torch_needs_cuda; then install_locked locks/cuda.lock ${PIP_ARGS:-}; fi
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet ${PIP_ARGS:-} \
    --no-deps --no-build-isolation --editable .
"$venv/bin/python" -m pip check --disable-pip-version-check
# On all cores, where pip compiles on one; large packages and parts that the window does without are
# compiled when they are used. Some packages bring files that are no Python.
seldom='tests?|_inductor|debugpy|distributed|docutils|IPython|jedi|mypyc?|networkx|onnx|pip|setuptools|sphinx'
"$venv/bin/python" -m compileall -q -j 0 -x "/($seldom|sqlalchemy|tensorboard)/" "$venv/lib" >/dev/null || :
