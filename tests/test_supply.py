"""What is installed is what the locks say, and nothing under a licence that does not fit."""

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {name: ROOT / f"locks/{name}.lock" for name in ("run", "torch", "cuda", "tools", "soak")}


def pins(*names: str) -> dict[str, Requirement]:
    """The packages of these locks by name."""
    lines = "\n".join(LOCKS[name].read_text() for name in names).splitlines()
    found = [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].isalnum()]
    return {requirement.name: requirement for requirement in found}


def test_every_file_of_a_lock_has_one_version_and_a_hash_and_no_address() -> None:
    for name, path in LOCKS.items():
        text = path.read_text()
        entries = re.split(r"(?m)^(?=[a-z0-9])", text)[1:]
        assert entries
        for entry in entries:
            assert re.match(r"[a-z0-9.-]+==\S+", entry), entry
            assert "--hash=sha256:" in entry, entry
        assert "://" not in text
        assert name != "torch" or len(entries) == 1


def test_what_is_installed_is_what_is_locked() -> None:
    wrong = {}
    for name, pin in pins("run", "torch").items():
        try:
            here = version(name).partition("+")[0]
        except PackageNotFoundError:
            here = "missing"
        wanted = not pin.marker or Marker(str(pin.marker)).evaluate()
        if wanted and f"=={here}" != str(pin.specifier):
            wrong[name] = (here, str(pin.specifier))
    assert wrong == {}, "make setup brings .venv up to date, scripts/lock.sh the locks"


def test_constraints_are_the_locks_without_hashes() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = {str(Requirement(line)) for line in lines if line[:1].isalnum()}
    assert found == {str(pin) for pin in pins("run", "torch").values()}


def test_the_engine_needs_no_package_under_the_gpl() -> None:
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=mixed"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    strict = {
        one["Name"].lower()
        for one in listed
        if re.search(r"\bA?GPL|General Public", one["License"])
        and not re.search(r"LGPL|Lesser", one["License"])
    }
    # The window's toolkit, which the extra `all` brings and PySide6 (LGPL) can stand in for; and
    # docutils, for one file of its tools, which only builds the site of the documents.
    assert strict & set(pins("run", "torch")) <= {"pyqt6", "docutils"}
    assert strict, "a check that finds nothing"


@pytest.mark.skipif(sys.platform == "win32", reason="the script is for a POSIX shell")
def test_torch_is_checked_against_its_hash_before_it_is_unpacked(tmp_path):
    wheel = tmp_path / "index" / "torch-9.9-py3-none-any.whl"
    (tmp_path / "locks").mkdir()
    wheel.parent.mkdir()
    _write_wheel(wheel, "value = 1")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "locks/torch.lock").write_text(f"torch==9.9 --hash=sha256:{digest}\n")
    _write_wheel(wheel, "value = 2")
    # An environment whose pip installs beside it.
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPIP_TARGET={tmp_path}/site exec {sys.executable} "$@"\n')
    python.chmod(stat.S_IRWXU)
    ran = subprocess.run(
        ["sh", ROOT / "scripts/setup.sh", tmp_path / "venv", "torch"],
        cwd=tmp_path,
        env=os.environ
        | {
            "PIP_ARGS": f"--no-index --find-links {wheel.parent}",
            # A machine's own settings may hold versions down.
            "PIP_CONFIG_FILE": os.devnull,
        },
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "DO NOT MATCH THE HASHES" in ran.stderr
    assert "has no hash of this build" in ran.stderr
    assert not (tmp_path / "site/torch.py").exists()


def test_both_containers_are_made_alike_of_what_is_there() -> None:
    docker, apptainer = (
        (ROOT / "scripts/containers" / name).read_text() for name in ("Dockerfile", "apptainer.def")
    )
    copied = [
        place
        for line in re.findall(r"(?m)^COPY (?!--from)(.*)$", docker)
        for place in line.split()[:-1]
    ]
    assert re.findall(r"(?m)^    (\S+) /build/\1$", apptainer) == copied
    assert all((ROOT / place).exists() for place in copied)
    installed = re.search(r"sh (scripts/containers/\S+) (\S+)", docker)
    assert installed
    assert installed[0] in apptainer
    assert os.access(ROOT / installed[1], os.R_OK)
    (image,) = set(re.findall(r"(?m)^FROM (\S+)", docker))
    assert f"From: {image}\n" in apptainer
    names = re.findall(r'"(stylegan3d[a-z-]*)"', docker.splitlines()[-1])
    assert names == ["stylegan3d-bids"]
    assert f"{names[0]} = " in (ROOT / "setup.cfg").read_text()


def _write_wheel(path, code):
    about = "torch-9.9.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("torch.py", code)
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")


#: Licences known everywhere, whose text need not lie beside what is under them.
KNOWN = {"CC0", "PDDL 1.0", "CC BY-SA 3.0"}


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("weights/*/card.json")), ids=lambda p: p.parent.name
)
def test_the_terms_of_what_a_model_learned_from_lie_beside_it(path: Path) -> None:
    card = json.loads(path.read_text())
    terms = {row["licence"] for row in card["training_data"]}
    others = terms - KNOWN or "licence 1" in card["licence"] or "Harvard-Oxford" in json.dumps(card)
    texts = [text.name for text in path.parent.glob("LICENSE*.txt")]
    assert bool(texts) == bool(others)
    assert all(text in json.dumps(card) for text in texts)
    assert all(text in (path.parent / "README.md").read_text() for text in texts)
