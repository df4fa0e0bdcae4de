"""The wheel holds what the program needs, wherever it is installed."""

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
MODEL = "stylegan3d/weights/brain-t1-2mm"
ADDRESS = "https://code.example/lab/brains"


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def packages_on_disk() -> set[str]:
    """Dotted names of every folder with an `__init__.py` below the two roots."""
    roots = {"napari_stylegan3d": ROOT / "napari_stylegan3d", "stylegan3d": ROOT / "src/stylegan3d"}
    return {
        ".".join((name, *init.parent.relative_to(folder).parts))
        for name, folder in roots.items()
        for init in folder.rglob("__init__.py")
    }


def test_every_package_is_listed() -> None:
    listed = setup_cfg()["options"]["packages"].split()
    # The folders of the bundled generators and of the guide hold data and no Python.
    data = {"stylegan3d.weights", "napari_stylegan3d.guide"}
    assert set(listed) - data == packages_on_disk()
    assert len(listed) == len(set(listed))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the checkout: a build leaves files beside its sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    config = setup_cfg()
    config["address"]["url"] = ADDRESS
    # Weights hardly become smaller, and take long.
    config["bdist_wheel"] = {"compression": "stored"}
    with (source / "setup.cfg").open("w", encoding="utf-8") as file:
        config.write(file)
    for name in ("napari_stylegan3d", "src", "weights", "docs", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    target = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel)
    return target


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def run_installed(installed: Path, cwd: Path, code: str) -> dict:
    """Run `code` with the installed wheel first on the path, away from the checkout."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_wheel_holds_everything_the_program_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "napari_stylegan3d/napari.yaml",
        "napari_stylegan3d/guide/window/project.md",
        "napari_stylegan3d/py.typed",
        "napari_stylegan3d/widgets/theme.qss",
        "stylegan3d/py.typed",
        "stylegan3d/pages/card.md",
        f"{MODEL}/card.json",
        f"{MODEL}/model.safetensors",
        f"{MODEL}/README.md",
    ):
        assert needed in names, f"{needed} is not in the wheel"
    for folder, ending in (
        ("napari_stylegan3d/icons", ".svg"),
        ("napari_stylegan3d/samples", ".nii.gz"),
        (MODEL, ""),
    ):
        on_disk = sorted(
            (ROOT / folder.replace("stylegan3d/weights", "weights")).glob(f"*{ending}")
        )
        assert on_disk, f"{folder} is empty"
        missing = {f"{folder}/{file.name}" for file in on_disk if file.name[0] != "."} - names
        assert not missing, f"not in the wheel: {sorted(missing)}"


def test_wheel_holds_every_module_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for ending in (".py", ".pyi"):  # stubs too: `lazy_loader` reads them
        modules = {name for name in names if name.endswith(ending)}
        ours = (ROOT / "napari_stylegan3d").rglob(f"*{ending}")
        expected = {file.relative_to(ROOT).as_posix() for file in ours}
        engine = ROOT / "src"
        expected |= {f.relative_to(engine).as_posix() for f in engine.rglob(f"*{ending}")}
        assert modules == expected
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "napari_stylegan3d",
        "stylegan3d",
    }


def test_the_installed_wheel_finds_its_plugin_and_the_bundled_generator(
    installed: Path, tmp_path: Path
) -> None:
    found = run_installed(
        installed,
        tmp_path,
        "import importlib, json, napari_stylegan3d, stylegan3d\n"
        "from npe2 import PluginManager\n"
        "from stylegan3d.storage.places import bundled_model_path\n"
        "manager = PluginManager()\n"
        "manager.discover()\n"
        "commands = manager.get_manifest('napari-stylegan3d').contributions.commands or []\n"
        "names = [command.python_name for command in commands]\n"
        "for name in names:\n"
        "    module, _, attribute = name.partition(':')\n"
        "    getattr(importlib.import_module(module), attribute)\n"
        "G = stylegan3d.load()\n"
        "print(json.dumps({'plugin': napari_stylegan3d.__file__, 'engine': stylegan3d.__file__,"
        " 'names': names, 'path': str(bundled_model_path()), 'name': G.name, 'shape': G.shape}))\n",
    )
    assert Path(found["plugin"]).is_relative_to(installed)
    assert Path(found["engine"]).is_relative_to(installed)
    assert found["names"], "the manifest offers no command"
    assert Path(found["path"]) == installed / MODEL
    card = json.loads((ROOT / "weights/brain-t1-2mm/card.json").read_text())
    assert found["name"] == card["name"]
    assert found["shape"] == card["space"]["shape"]


def test_every_address_follows_from_the_one_in_setup_cfg(wheel: Path) -> None:
    """The page on an index shows pictures and links only by their full addresses."""
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (n for n in opened.namelist() if n.endswith(".dist-info/METADATA"))
        about = message_from_bytes(opened.read(name))
    links = dict(line.split(", ") for line in about.get_all("Project-URL"))
    assert set(links) == {"Homepage", "Source Code", "Documentation", "Bug Tracker", "Changelog"}
    targets = re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", about.get_payload())
    ours = [(kind, to) for kind, to in targets if not re.match(r"https://(napari|pytorch)\.", to)]
    pictures = [to for kind, to in ours if kind]
    assert f"{ADDRESS}/raw/HEAD/docs/images/tour.gif" in pictures
    for to in (*(to for _, to in ours), *links.values()):
        assert to.startswith(ADDRESS), to
        place = re.sub(r".*/(raw|blob)/HEAD/|#.*", "", to)
        assert place == to or (ROOT / place).is_file(), to


def test_a_copy_without_git_has_the_version_that_comes_next(wheel: Path) -> None:
    """The change log names it, and nothing else has to be kept up to date."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"]
    assert wheel.name.split("-")[1] == settings["fallback_version"]
    log = re.search(r"^## (\d\S+), ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert log
    assert settings["fallback_version"] == f"{log[1]}.dev0"


def test_the_citation_names_the_address_and_no_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    about = setup_cfg()
    assert citation.get("repository-code", "") == about["address"]["url"]
    assert citation["license"] == about["metadata"]["license"]
    assert "version" not in citation, "the tag says it"
    zenodo, codemeta = (
        json.loads((ROOT / n).read_text()) for n in (".zenodo.json", "codemeta.json")
    )
    assert zenodo["title"] == citation["title"]
    assert zenodo["license"] == codemeta["license"].rpartition("/")[2] == citation["license"]
    assert codemeta.get("codeRepository", "") == about["address"]["url"]
    paper = (ROOT / "paper/paper.md").read_text()
    assert citation["title"] in paper
    cited = set(re.findall(r"@(\w+)", paper))
    assert cited == set(re.findall(r"^@\w+{(\w+),", (ROOT / "paper/paper.bib").read_text(), re.M))
    # Its figures are those of the first page.
    told = set(re.findall(r"\d+\.\d+", paper)) - set(re.findall(r"arXiv:\d+\.\d+", paper))
    assert told <= set(re.findall(r"\d+\.\d+", (ROOT / "README.md").read_text()))


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_tracked_file_is_large() -> None:
    sizes = {str(path): path.stat().st_size / 1e6 for path in tracked_files()}
    assert {path: size for path, size in sizes.items() if size > 40} == {}


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    patterns = (
        rb"(?<![\w./~])/(?:home|Users|root|work|opt|mnt|media)/[\w.-]+",
        rb"pypi\.org/simple|files\.pythonhosted\.org|registry\.npmjs\.org|deb\.debian\.org",
        rb"download\.pytorch\.org",
    )
    forbidden = re.compile(b"|".join(patterns))
    found = {}
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content and (match := forbidden.search(content)):
            found[str(path.relative_to(ROOT))] = match.group().decode()
    assert found == {}
