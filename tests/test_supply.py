"""What is installed is what the locks say, and what the locks say is what setup.cfg asks for."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import zipfile
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import licences
import lock
import pytest
import sbom
import supply
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = (
    supply.RUN_LOCK,
    supply.TORCH_LOCK,
    supply.CUDA_LOCK,
    supply.TOOLS_LOCK,
    supply.SOAK_LOCK,
)
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"},
    "Windows": {"sys_platform": "win32", "os_name": "nt", "platform_machine": "AMD64"},
    "Darwin": {"sys_platform": "darwin", "os_name": "posix", "platform_machine": "arm64"},
}


@cache
def environments() -> list[dict[str, str]]:
    """Marker environments of every system for every Python of the classifiers."""
    return [
        {"platform_system": system, "python_version": python, "extra": ""}
        | {"python_full_version": f"{python}.0"}
        | values
        for system, values in SYSTEMS.items()
        for python in lock.supported_pythons()
    ]


def holds(marker: object, environment: dict[str, str]) -> bool:
    return not marker or Marker(str(marker)).evaluate(environment)


def unsatisfied(requirements: list[Requirement], where: str = "") -> list[str]:
    """Requirements that the locks leave open on some system or Python where `where` holds."""
    pins = supply.product_pins()
    wrong = []
    for requirement in requirements:
        pin = pins.get(canonicalize_name(requirement.name))
        for environment in environments():
            if not (holds(where, environment) and holds(requirement.marker, environment)):
                continue
            if pin is None or pin.version not in requirement.specifier:
                wrong.append(f"{requirement} on {environment}")
            elif not holds(pin.marker, environment):
                wrong.append(f"{requirement} has no pin on {environment}")
    return wrong


def test_the_locks_satisfy_setup_cfg() -> None:
    asked = supply.declared(("", *supply.LOCKED_EXTRAS))
    assert len(asked) > 20
    assert unsatisfied(asked) == []
    assert unsatisfied([Requirement("torch>=99")]), "a check that finds nothing"


def test_the_locks_satisfy_each_other() -> None:
    pins = supply.product_pins()
    names = supply.needed_by(("", *supply.LOCKED_EXTRAS))
    assert len(names) > 100
    for name in names:
        asked = [Requirement(text) for text in requires(name) or [] if "extra ==" not in text]
        assert unsatisfied(asked, pins[name].marker) == [], name


def test_what_is_installed_is_what_is_locked() -> None:
    wrong = {}
    for name, pin in supply.product_pins().items():
        try:
            here = version(name).partition("+")[0]
        except PackageNotFoundError:
            here = "" if pin.cuda or not pin.holds_here else "missing"
        if here and here != pin.version:
            wrong[name] = (here, pin.version)
    assert wrong == {}, "make setup brings .venv up to date, make lock the locks"


def test_every_file_of_a_lock_has_a_hash_and_no_address() -> None:
    for path in LOCKS:
        assert all(pin.hashes for pin in supply.read_lock(path).values())
        assert "://" not in path.read_text()
    # PyTorch's CPU builds are published apart from the others; one of them is locked too.
    assert len(supply.read_lock(supply.TORCH_LOCK)) == 1


def test_constraints_are_the_locks_without_hashes() -> None:
    constraints = supply.read_lock(ROOT / "constraints.txt")
    pins = {name: pin for name, pin in supply.product_pins().items() if not pin.cuda}
    assert {pin.text for pin in constraints.values()} == {pin.text for pin in pins.values()}


@pytest.mark.parametrize("text", ["numpy>=2\n", "numpy==2.1\nnumpy==2.2\n", "numpy\n"])
def test_a_lock_that_leaves_a_version_open_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="version"):
        supply.read_pins(text)


def test_every_licence_is_known_and_fits() -> None:
    stated, pins = licences.read_licences(), supply.product_pins()
    assert {name: entry["version"] for name, entry in stated.items()} == {
        name: pin.version for name, pin in pins.items()
    }
    groups = {name: licences.group(entry["licence"]) for name, entry in stated.items()}
    members = {one: {n for n, found in groups.items() if found == one} for one in licences.GROUPS}
    assert members["unknown"] == set()
    assert members["copyleft"] == {"pyqt6"}, "a package under the GPL has to be weighed first"
    assert all(pins[name].cuda for name in members["proprietary"])
    # The toolkit under the GPL is nobody's who did not ask for it.
    assert "pyqt6" not in supply.needed_by([""])


def test_the_page_of_licences_is_up_to_date() -> None:
    page = licences.page(licences.read_licences())
    assert licences.PAGE.read_text(encoding="utf-8") == page, "make licences"


def test_licences_are_what_the_packages_say() -> None:
    pins = supply.product_pins()
    for name, entry in licences.read_licences().items():
        if name in licences.BY_HAND:
            continue
        assert licences.installed_licence(pins[name]) in (None, entry["licence"]), name


@pytest.mark.parametrize(
    ("places", "expected", "group"),
    [
        (("MIT", None, []), "MIT", "permissive"),
        ((None, "Apache 2.0", []), "Apache-2.0", "permissive"),
        ((None, "text of a licence\nover lines", []), "unknown", "unknown"),
        ((None, None, ["License :: OSI Approved :: BSD License"]), "BSD", "permissive"),
        (("GPL-3.0-only OR MIT", None, []), "GPL-3.0-only OR MIT", "permissive"),
        (("MPL-2.0 AND MIT", None, []), "MPL-2.0 AND MIT", "weak copyleft"),
        (("AGPL-3.0-or-later", None, []), "AGPL-3.0-or-later", "copyleft"),
        ((None, "ask the author", []), "unknown", "unknown"),
    ],
)
def test_licences_are_read_from_three_places(places: tuple, expected: str, group: str) -> None:
    assert licences.licence_name(*places) == expected
    assert licences.group(expected) == group


def test_the_bill_of_materials_holds_what_the_product_needs() -> None:
    bill = sbom.bill_of_materials()
    assert bill == sbom.bill_of_materials()
    parts = {component["name"]: component for component in bill["components"]}
    direct = {canonicalize_name(r.name) for r in supply.declared(supply.RUN_EXTRAS)}
    assert direct <= set(parts)
    assert not {"pytest", "mypy", "ruff", "tensorboard"} & set(parts), "development is not shipped"
    (reference,) = parts["numpy"]["externalReferences"]
    locked = supply.read_lock(supply.RUN_LOCK)["numpy"]
    assert {f"sha256:{one['content']}" for one in reference["hashes"]} == set(locked.hashes)
    model = {file["name"]: file for file in parts["brain-t1-2mm"]["components"]}
    content = (ROOT / "weights/brain-t1-2mm/model.safetensors").read_bytes()
    assert model["model.safetensors"]["hashes"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}
    ]


def test_every_reference_of_the_bill_leads_somewhere() -> None:
    bill = sbom.bill_of_materials()
    known = {one["bom-ref"] for one in bill["components"]} | {"product"}
    assert len(known) == len(bill["components"]) + 1
    for dependency in bill["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= known
    reached, todo = set(), ["product"]
    graph = {one["ref"]: one["dependsOn"] for one in bill["dependencies"]}
    while todo:
        reference = todo.pop()
        if reference not in reached:
            reached.add(reference)
            todo += graph.get(reference, [])
    here = {pin.purl for pin in supply.product_pins().values() if pin.holds_here and not pin.cuda}
    assert known & here <= reached, "a package that nothing needs"


def audited(tmp_path: Path, answer: str) -> subprocess.CompletedProcess[str]:
    """`make audit` with a pip-audit that answers as told."""
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\n{answer}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    command = [sys.executable, str(ROOT / "scripts/audit.py"), "--pip-audit", str(program)]
    return subprocess.run(command, capture_output=True, text=True)


def answering(vulnerabilities: list[dict]) -> str:
    found = [{"name": "numpy", "version": "1.0", "vulns": vulnerabilities}]
    return f"print({json.dumps(json.dumps({'dependencies': found}))})"


def test_an_audit_without_advisories_says_that_nothing_was_checked(tmp_path: Path) -> None:
    answer = "import sys; sys.exit('requests.exceptions.ConnectionError: no such host')"
    result = audited(tmp_path, answer)
    count = sum(len(supply.read_lock(path)) for path in LOCKS)
    assert result.returncode == 3
    assert result.stdout == ""
    assert result.stderr.startswith("No advisories could be had from osv (ConnectionError): ")
    assert f"none of the {count} packages" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_audit_tells_weaknesses_apart_from_none(tmp_path: Path) -> None:
    clean = audited(tmp_path, answering([]))
    assert (clean.returncode, clean.stderr) == (0, "")
    weak = audited(tmp_path, answering([{"id": "CVE-1", "fix_versions": ["1.1"]}]))
    assert weak.returncode == 1
    assert "numpy 1.0: CVE-1, mended in 1.1" in weak.stdout


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


def _write_wheel(path, code):
    about = "torch-9.9.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("torch.py", code)
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
        wheel.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{about}/RECORD", "")
