"""Renew the locks from setup.cfg: `make lock`, `make lock ARGS=--upgrade`.

Versions stay as they are unless setup.cfg asks for others or `--upgrade` is given. One lock serves
every Python and system that setup.cfg names: a package that only some need has a marker.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from packaging.version import Version
from supply import (
    CUDA_LOCK,
    LOCKED_EXTRAS,
    ROOT,
    RUN_LOCK,
    TOOLS_LOCK,
    TORCH_LOCK,
    Pin,
    declared,
    product_pins,
    read_lock,
    read_pins,
    setup_cfg,
)

HEADS = {
    RUN_LOCK: "What `make run`, `make test` and `make lint` need; `make lock` writes this file.",
    TORCH_LOCK: "The builds of torch of which one is installed; `make lock` writes this file.",
    CUDA_LOCK: "What torch's ordinary build for Linux needs besides; `make lock` writes this file.",
    TOOLS_LOCK: "What locks/tools.in needs; `make lock` writes this file.",
}
CONSTRAINTS_HEAD = """\
# The versions of the locks without the hashes, for an environment of your own; `make lock` writes
# this file. torch's version only: which build is the machine's choice (README, "Install").
"""


def main() -> int:
    """Write all locks, or none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", required=True, help="the uv program that resolves")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions there are")
    parser.add_argument("--upgrade-package", action="append", default=[], metavar="NAME")
    parser.add_argument("--pip-args", default="", help="options for pip where it looks for torch")
    args = parser.parse_args()
    options = ["--upgrade"] if args.upgrade else []
    options += [f"--upgrade-package={name}" for name in args.upgrade_package]

    locked = product_pins()
    wanted = "\n".join(map(str, declared(("", *LOCKED_EXTRAS))))
    pins = compiled(args.uv, options, wanted, locked)
    constraints = "".join(f"{pin.text}\n" for pin in pins.values() if not pin.cuda)
    torch = with_local_builds(pins.pop("torch"), locked.get("torch"), shlex.split(args.pip_args))
    tools = (ROOT / "locks/tools.in").read_text(encoding="utf-8")
    files = {
        RUN_LOCK: {name: pin for name, pin in pins.items() if not pin.cuda},
        TORCH_LOCK: {"torch": torch},
        CUDA_LOCK: {name: pin for name, pin in pins.items() if pin.cuda},
        TOOLS_LOCK: compiled(args.uv, options, tools, read_lock(TOOLS_LOCK)),
    }
    for path, content in files.items():
        path.write_text(lock_text(HEADS[path], content), encoding="utf-8")
    (ROOT / "constraints.txt").write_text(CONSTRAINTS_HEAD + constraints, encoding="utf-8")
    for path, content in files.items():
        print(f"{path.relative_to(ROOT)}: {len(content)} packages")
    return 0


def oldest_python() -> str:
    """The first Python that setup.cfg allows, such as 3.11."""
    return setup_cfg()["options"]["python_requires"].removeprefix(">=")


def compiled(uv: str, options: list[str], wanted: str, old: dict[str, Pin]) -> dict[str, Pin]:
    """Pins that satisfy `wanted` on every system, the old ones where they still do.

    One version for all Pythons, so that tests on one tell of the others. Wheels only: what has to
    be built would run code of strangers while it is installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.txt")
        out.write_text(lock_text("old", old), encoding="utf-8")
        command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
        command += ["--python-version", oldest_python(), "--only-binary", ":all:", "--no-config"]
        command += ["--fork-strategy", "fewest", "--no-emit-index-url"]
        command += ["--output-file", str(out), *options, "-"]
        subprocess.run(command, input=wanted, text=True, check=True, stdout=subprocess.DEVNULL)
        pins = read_pins(out.read_text(encoding="utf-8"))
    # torch is made for CPython alone, so what only PyPy needs is left out.
    return {name: pin for name, pin in pins.items() if '== "pypy"' not in pin.marker}


def with_local_builds(torch: Pin, old: Pin | None, options: list[str]) -> Pin:
    """torch with the hashes of builds that the resolver does not see, new and old ones."""
    hashes = set(torch.hashes) | local_hashes(torch, options)
    if old is not None and old.version == torch.version:
        hashes |= set(old.hashes)
    return replace(torch, hashes=tuple(sorted(hashes)))


def local_hashes(torch: Pin, options: list[str]) -> set[str]:
    """Hashes of the builds of torch that pip takes here, such as PyTorch's CPU build.

    They are published apart from the ordinary builds, so the resolver does not see them. One is
    found for each Python for which pip's settings here offer it.
    """
    found = set()
    for python in supported_pythons():
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps"]
            command += ["--ignore-installed", "--only-binary=:all:", f"--python-version={python}"]
            command += [f"--target={folder}", f"--report={report}", *options]
            command.append(f"torch=={torch.version}")
            if subprocess.run(command, env={**os.environ, "PIP_NO_INPUT": "1"}).returncode:
                continue
            (package,) = json.loads(report.read_text(encoding="utf-8"))["install"]
            if Version(package["metadata"]["version"]).local:
                found.add("sha256:" + package["download_info"]["archive_info"]["hashes"]["sha256"])
    return found


def supported_pythons() -> list[str]:
    """The Pythons that the classifiers name, such as 3.11."""
    lines = setup_cfg()["metadata"]["classifiers"].splitlines()
    versions = [line.rpartition(" :: ")[2] for line in lines if "Python :: 3." in line]
    return sorted(versions, key=Version)


def lock_text(head: str, pins: dict[str, Pin]) -> str:
    """Content of a lock file."""
    return f"# {head}\n" + "".join(pins[name].entry for name in sorted(pins))


if __name__ == "__main__":
    sys.exit(main())
