"""What the locks and setup.cfg say, for the commands that renew, list and check them."""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# What `make run`, `make test` and `make lint` need, but for torch.
RUN_LOCK = ROOT / "locks/run.lock"
# torch's version and the hashes of its builds.
TORCH_LOCK = ROOT / "locks/torch.lock"
# CUDA's libraries, which torch's ordinary build for Linux loads and its CPU build does without.
CUDA_LOCK = ROOT / "locks/cuda.lock"
# The licence that each package of the three states.
LICENCES = ROOT / "locks/licences.json"
# The programs behind `make lock`, `make sbom` and `make audit`.
TOOLS_LOCK = ROOT / "locks/tools.lock"
# What `make soak` installs besides.
SOAK_LOCK = ROOT / "locks/soak.lock"
LOCKED_EXTRAS = ("all", "train", "testing", "docs", "lint")
# What the window and the commands need; the other extras are for those who train or develop.
RUN_EXTRAS = ("", "all")
_CUDA = re.compile(r"(nvidia|cuda)-|triton$")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """A package of a lock: normal name, version, for which machines, hashes of its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    comment: str

    @property
    def text(self) -> str:
        """As pip reads it, without hashes."""
        return f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")

    @property
    def entry(self) -> str:
        """The lines that stand for it in a lock."""
        lines = [self.text, *(f"    --hash={value}" for value in sorted(self.hashes))]
        return " \\\n".join(lines) + "\n" + self.comment

    @property
    def purl(self) -> str:
        """Its address in the form of package URLs."""
        return f"pkg:pypi/{self.name}@{self.version}"

    @property
    def holds_here(self) -> bool:
        """Whether this machine and Python are among those it is for."""
        return not self.marker or Marker(self.marker).evaluate()

    @property
    def cuda(self) -> bool:
        """Whether it is one of CUDA's libraries, or the compiler that only a GPU needs."""
        return bool(_CUDA.match(self.name))


def read_pins(text: str) -> dict[str, Pin]:
    """The packages of a lock by name; ValueError for a line that does not pin one version."""
    pins: dict[str, Pin] = {}
    for entry in _entries(text):
        lines = entry.splitlines()
        requirement = Requirement(lines[0].rstrip("\\ "))
        versions = [f"{spec.operator}{spec.version}" for spec in requirement.specifier]
        if len(versions) != 1 or not versions[0].startswith("=="):
            raise ValueError(f"{lines[0]!r} pins no version.")
        name = canonicalize_name(requirement.name)
        if name in pins:
            raise ValueError(f"{name} has two versions.")
        pins[name] = Pin(
            name,
            versions[0][2:],
            str(requirement.marker or ""),
            tuple(_HASH.findall(entry)),
            "".join(f"{line}\n" for line in lines if line.lstrip().startswith("#")),
        )
    return pins


def _entries(text: str) -> Iterator[str]:
    """The parts of a lock that begin with a name at the margin."""
    lines: list[str] = []
    for line in text.splitlines():
        if line[:1].isalnum():
            if lines:
                yield "\n".join(lines)
            lines = [line]
        elif lines:
            lines.append(line)
    if lines:
        yield "\n".join(lines)


def read_lock(path: Path) -> dict[str, Pin]:
    """The packages of a lock file; nothing where there is none yet."""
    return read_pins(path.read_text(encoding="utf-8")) if path.exists() else {}


def product_pins() -> dict[str, Pin]:
    """Every package that an environment made by the Makefile may hold."""
    return {
        name: pin
        for path in (RUN_LOCK, TORCH_LOCK, CUDA_LOCK)
        for name, pin in read_lock(path).items()
    }


def setup_cfg() -> configparser.ConfigParser:
    """The project's metadata."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


@cache
def version() -> str:
    """The version of this checkout: git's last tag, or what pyproject.toml says without one."""
    from setuptools_scm import get_version

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return get_version(root=ROOT, **settings["tool"]["setuptools_scm"])


def declared(extras: Iterable[str]) -> list[Requirement]:
    """What setup.cfg asks for, with these extras; "" stands for what is always needed."""
    config = setup_cfg()
    texts = [
        config["options"]["install_requires"]
        if extra == ""
        else config["options.extras_require"][extra]
        for extra in extras
    ]
    lines = "\n".join(texts).splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def needed_by(extras: Iterable[str]) -> dict[str, set[str]]:
    """The installed packages that these extras need on this machine, and what each needs itself."""
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    todo = declared(extras)
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                texts = requires(name) or []
            except PackageNotFoundError:
                continue
            asked = [
                one
                for one in map(Requirement, texts)
                if one.marker is None or one.marker.evaluate({"extra": extra})
            ]
            found.setdefault(name, set()).update(canonicalize_name(one.name) for one in asked)
            todo += asked
    return found
