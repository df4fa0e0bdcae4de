"""List the licences of all locked packages in docs/licences.md: `make licences`.

They are read from the packages' own metadata: of the installed ones from .venv, of those for other
machines (Windows, macOS, CUDA) from what pip tells of their wheels.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Collection, Mapping
from email import message_from_bytes
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from supply import LICENCES, ROOT, RUN_EXTRAS, Pin, needed_by, product_pins

PAGE = ROOT / "docs/licences.md"
UNKNOWN = "unknown"
# What packages write instead of an SPDX expression; "BSD" and the like name a family of licences.
NAMES = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD",
    "bsd license": "BSD",
    "isc license (iscl)": "ISC",
    "lgpl v3": "LGPL-3.0-only",
    "lgpl-3.0": "LGPL-3.0-only",
    "licenseref-nvidia-proprietary": "NVIDIA proprietary",
    "licenseref-nvidia-software-license": "NVIDIA proprietary",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "nvidia proprietary software": "NVIDIA proprietary",
    "other/proprietary license": "proprietary",
    "psf": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}
# Where a wheel is looked for that this machine cannot use, best guess first.
MACHINES = (
    [*(f"manylinux_2_{minor}_x86_64" for minor in range(5, 40)), "manylinux2014_x86_64"],
    ["win_amd64"],
    ["macosx_11_0_arm64"],
)
# Of what states none in its metadata.
BY_HAND = {"cuda-toolkit": "NVIDIA proprietary"}  # holds no code, only names NVIDIA's packages
NOT_A_LICENCE = {"dfsg approved", "osi approved"}
PERMISSIVE = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause"),
    *("BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib"),
}
# From the least to the most demanding; of a package under several the last one counts.
GROUPS = ("permissive", "weak copyleft", "copyleft", "proprietary", UNKNOWN)
MEANING = {
    "permissive": "Used and passed on freely with its notice; fits our BSD licence.",
    "weak copyleft": "Used unchanged, as a package of its own that anyone can replace: our code "
    "keeps its licence. Anyone who changes the package itself must pass on those changes under "
    "its terms.",
    "copyleft": "Never required, only brought by the extra `all` as napari's window toolkit. Our "
    "code keeps its licence; anyone who passes on the program *together with* this package, as "
    "one bundle, does so under the GPL. PySide6 (LGPL) shows the same window.",
    "proprietary": "NVIDIA's libraries, only where torch's CUDA build is installed "
    "(`locks/cuda.lock`); they come from NVIDIA under NVIDIA's terms and are no part of what we "
    "pass on.",
    UNKNOWN: "To be looked into before the next release.",
}
HEAD = """\
# Licences of the packages

`make licences` writes this page from the metadata of the packages in the locks: it says what they
say of themselves. Our own code is under the [BSD 3-Clause licence](../LICENSE). The wheels contain
none of these packages; what they contain besides code (the autoencoder and the diffusion model
are in the separate wheel `stylegan3d-models`) has its terms beside it: the
[generator](../weights/brain-t1-2mm/README.md), the
[autoencoder](../weights/vae-t1-2mm/README.md), the
[diffusion](../weights/diffusion-t1-2mm/README.md), the
[network that paints labels](../weights/labels-to-t1-2mm/README.md), the
[tissue network](../weights/tissue-t1-2mm/README.md), the
[region network](../weights/regions-t1-2mm/README.md), the
[lesion network](../weights/lesions-t1-2mm/README.md), the
[atlas](../src/stylegan3d/atlas/README.md) and the
[sample scans](../napari_stylegan3d/samples/README.md). The extra `mp4`, which is not
locked, brings ffmpeg, a program under the GPL.
"""


def main() -> int:
    """Write locks/licences.json and the page; 1 if a licence is unknown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pip-args", default="", help="options for pip")
    args = parser.parse_args()
    pins = product_pins()
    known = {
        (name, entry["version"]): entry["licence"]
        for name, entry in read_licences().items()
        if entry["licence"] != UNKNOWN
    }
    run, stated = needed_by(RUN_EXTRAS), {}
    for name, pin in pins.items():
        found = BY_HAND.get(name) or installed_licence(pin) or known.get((name, pin.version))
        if found is None:
            found = elsewhere_licence(pin, shlex.split(args.pip_args))
        stated[name] = {"version": pin.version, "licence": found, "for": need(pin, run)}
    LICENCES.write_text(json.dumps(stated, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page(stated), encoding="utf-8")
    unknown = [name for name, entry in stated.items() if group(entry["licence"]) == UNKNOWN]
    print(f"{PAGE.relative_to(ROOT)}: {len(stated)} packages")
    if unknown:
        print(f"No licence that is known here: {', '.join(unknown)}.", file=sys.stderr)
    return bool(unknown)


def read_licences() -> dict[str, dict[str, str]]:
    """Version, licence and use of each locked package, as they were listed last."""
    return json.loads(LICENCES.read_text(encoding="utf-8")) if LICENCES.exists() else {}


def installed_licence(pin: Pin) -> str | None:
    """The licence that the installed package states; None if this version is not installed."""
    try:
        found = metadata(pin.name)
    except PackageNotFoundError:
        return None
    if found["Version"].partition("+")[0] != pin.version:
        return None
    classifiers = found.get_all("Classifier") or []
    return licence_name(found.get("License-Expression"), found.get("License"), classifiers)


def elsewhere_licence(pin: Pin, options: list[str]) -> str:
    """The licence in the metadata of a wheel for another machine, which is downloaded for it."""
    for platforms in MACHINES:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary=:all:", *(f"--platform={one}" for one in platforms)]
            command += [f"--dest={folder}", *options, f"{pin.name}=={pin.version}"]
            if subprocess.run(command, capture_output=True).returncode:
                continue
            (path,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(path) as wheel:
                inside = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
                found = message_from_bytes(wheel.read(inside))
        classifiers = found.get_all("Classifier") or []
        return licence_name(found.get("License-Expression"), found.get("License"), classifiers)
    return UNKNOWN


def licence_name(expression: str | None, text: str | None, classifiers: list[str]) -> str:
    """An SPDX expression, or a family of licences, from the three places where one may stand."""
    lines = (text or "").strip().splitlines()
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    named = [name for name in named if name.lower() not in NOT_A_LICENCE]
    for candidate in (expression, lines[0] if len(lines) == 1 else None, *named):
        if not candidate:
            continue
        if (name := NAMES.get(candidate.lower())) is not None:
            return name
        try:
            return str(canonicalize_license_expression(candidate))
        except InvalidLicenseExpression:
            continue
    return UNKNOWN


def group(licence: str) -> str:
    """Which of `GROUPS` an expression belongs to: the mildest of an OR, the strictest of an AND."""

    def rank(part: str) -> int:
        return GROUPS.index(_group_of_one(part.strip("() ")))

    return GROUPS[_choose(licence, " OR ", min, lambda one: _choose(one, " AND ", max, rank))]


def _choose(text: str, word: str, which: Callable[..., int], rank: Callable[[str], int]) -> int:
    return which(rank(part) for part in text.split(word))


def _group_of_one(licence: str) -> str:
    if licence in PERMISSIVE:
        return "permissive"
    if re.match(r"(LGPL|MPL|EPL)-", licence):
        return "weak copyleft"
    if re.match(r"A?GPL-", licence):
        return "copyleft"
    if "proprietary" in licence or licence.startswith("LicenseRef-NVIDIA"):
        return "proprietary"
    return UNKNOWN


def need(pin: Pin, run: Collection[str]) -> str:
    """What a package is needed for; `run` are those that the program needs on this machine."""
    if pin.cuda:
        return "torch with CUDA"
    if pin.name in run:
        return "the program"
    systems = {"win32": "Windows", "darwin": "macOS"}
    for system, name in systems.items():
        if not pin.holds_here and f'sys_platform == "{system}"' in pin.marker:
            return name
    return "development"


def page(stated: Mapping[str, Mapping[str, str]]) -> str:
    """The page of the documents."""
    groups = {name: group(entry["licence"]) for name, entry in stated.items()}
    lines = [
        HEAD,
        "| Group | Packages | What it means here |",
        "|---|---|---|",
    ]
    for name in GROUPS:
        members = [package for package in stated if groups[package] == name]
        if members:
            lines.append(f"| {name} | {len(members)} | {MEANING[name]} |")
    flagged = [name for name in sorted(stated) if groups[name] != "permissive"]
    lines += ["", "## Not permissive", "", *_table(flagged, stated, groups)]
    lines += ["", "## All", "", *_table(sorted(stated), stated, groups)]
    return "\n".join(lines) + "\n"


def _table(
    names: list[str], stated: Mapping[str, Mapping[str, str]], groups: Mapping[str, str]
) -> list[str]:
    """A table of packages: licence, and what each is needed for."""
    lines = ["| Package | Version | Licence | Group | Needed for |", "|---|---|---|---|---|"]
    for name in names:
        entry = stated[name]
        row = (name, entry["version"], entry["licence"], groups[name], entry["for"])
        lines.append(f"| {' | '.join(row)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
