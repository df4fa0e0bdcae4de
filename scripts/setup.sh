#!/bin/sh
# Makes the virtual environment the Makefile works in: system packages, Python, pinned packages, both
# of ours in editable form. Safe to run again, also after it was interrupted.
#
#   PYTHON=python3.12 PIP_ARGS="..." sh scripts/setup.sh .venv
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

install_system_packages
make_venv
drop_half_installed
say "installing the pinned Python packages (minutes, and 2 GB or more, the first time)"
"$venv/bin/python" -m pip install --disable-pip-version-check ${CI:+--quiet} ${PIP_ARGS:-} \
    --constraint constraints.txt --editable '.[all,train,testing,lint]'
