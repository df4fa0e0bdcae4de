"""The code keeps its order: rooms import what lies below them, and nothing in a circle."""

import ast
import configparser
import re
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ENGINE, PLUGIN = "stylegan3d", "napari_stylegan3d"
FOLDERS = {ENGINE: ROOT / "src" / ENGINE, PLUGIN: ROOT / PLUGIN}
#: Extras that bring what the program uses where it is there.
OPTIONAL = ("train", "mp4", "cluster", "dicom", "export", "hub", "large")
#: The one file that uses what vispy and napari keep to themselves: it draws a canvas larger than
#: its window, and spares the sliders.
PRIVATES = "display.py"


def test_packages_import_those_below_them_and_nothing_in_a_circle():
    """The order stands in setup.cfg; imports inside functions count."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "4 kept, 0 broken" in done.stdout


#: The budget: what was reached, with little to spare.
MOST = {
    "lines of code": 63_000,
    "lines of the plugin": 20_220,
    "files": 280,
    "class names defined more than once": 0,
    "modules with one importer": 34,
    "untyped dictionaries": 58,
    "words of documents": 28_629,
}
#: Libraries, and the name of a control, in docstrings.
ELSEWHERE = ("np", "torch", "name", "panel")
#: Endings of files that docstrings name.
DATA = ("tsv", "json", "md", "safetensors", "npz", "npy", "toml", "qss", "html", "pyi")
UNTYPED = r"dict\[str, Any\]|Mapping\[str, Any\]"


@cache
def nodes(package: str) -> dict[Path, list[ast.AST]]:
    """All that is written in each file of a package, read once."""
    return {
        file: list(ast.walk(ast.parse(file.read_text("utf-8"))))
        for file in sorted(FOLDERS[package].rglob("*.py"))
    }


def code_lines(path: Path, written: list[ast.AST]) -> int:
    """Lines of code, without blanks, comments and docstrings."""
    text = path.read_text("utf-8").splitlines()
    lines = {n for n, line in enumerate(text, 1) if line.strip() and line.lstrip()[0] != "#"}
    for node in written:
        if isinstance(node, ast.JoinedStr | ast.Constant) and node.end_lineno > node.lineno:
            lines.update(range(node.lineno, node.end_lineno + 1))  # as it is in a string
    for node in written:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if first is not None and ast.get_docstring(node, clean=False) is not None:
                lines -= set(range(first.lineno, first.end_lineno + 1))
    return len(lines)


def importers(files: dict[Path, list[ast.AST]]) -> dict[str, set[str]]:
    """Who imports each module of ours."""
    names = {}
    for path in files:
        package = PLUGIN if path.is_relative_to(FOLDERS[PLUGIN]) else ENGINE
        parts = path.relative_to(FOLDERS[package].parent).with_suffix("").parts
        names[path] = ".".join(parts).removesuffix(".__init__")
    known, found = set(names.values()), defaultdict(set)
    for path, written in files.items():
        for node in written:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    found[full if full in known else node.module].add(names[path])
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    found[alias.name].add(names[path])
    return {name: users - {name} for name, users in found.items() if name in known}


def test_the_house_stays_as_small_as_it_is():
    """A change that adds also takes away; raise no figure without a reason in the commit."""
    read = {package: nodes(package) for package in FOLDERS}
    files = read[ENGINE] | read[PLUGIN]
    lines = {name: sum(code_lines(*one) for one in read[name].items()) for name in read}
    classes = Counter(
        node.name
        for written in files.values()
        for node in written
        if isinstance(node, ast.ClassDef)
    )
    text = [path.read_text("utf-8") for path in files]
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    figures = {
        "lines of code": sum(lines.values()),
        "lines of the plugin": lines[PLUGIN],
        "files": len(files),
        "class names defined more than once": sum(count > 1 for count in classes.values()),
        "modules with one importer": sum(
            len(users) == 1 and "__" not in name for name, users in importers(files).items()
        ),
        "untyped dictionaries": sum(len(re.findall(UNTYPED, one)) for one in text),
        "words of documents": sum(len(page.read_text("utf-8").split()) for page in pages),
    }
    assert {name: (now, MOST[name]) for name, now in figures.items() if now > MOST[name]} == {}


def imported_packages(package: str) -> set[str]:
    """Names of the packages from elsewhere that one of ours imports."""
    found = set()
    for written in nodes(package).values():
        for node in written:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).partition(".")[0])
    found -= {"_typeshed", PLUGIN, ENGINE} | set(sys.stdlib_module_names)
    provided = packages_distributions()
    return {canonicalize_name(provided.get(name, [name])[0]) for name in found}


def declared(*extras: str) -> set[str]:
    """Packages that setup.cfg asks for, always or with these extras."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    texts = [config["options.extras_require"][name] for name in extras]
    lines = "\n".join(texts or [config["options"]["install_requires"]]).splitlines()
    asked = [Requirement(line) for line in lines if line and not line.startswith(("#", "$"))]
    return {canonicalize_name(one.name) for one in asked}


def test_what_is_imported_is_declared():
    """Nothing is there only because another package happens to bring it."""
    assert imported_packages(ENGINE) - declared() - declared(*OPTIONAL) == set()
    assert imported_packages(PLUGIN) - declared() - declared("all", *OPTIONAL) == set()


def test_torch_is_loaded_when_it_is_needed():
    modules = "cli storage.places outputs.report recipe.description recipe.keyframes session.store"
    names = ", ".join(f"{ENGINE}.{name}" for name in ["scans.reading", *modules.split()])
    # napari imports every plugin at its start, and the window opens before torch is there.
    code = (
        f"import sys, {PLUGIN}.core.jobs\n"
        "assert not sys.modules.keys() & {'napari', 'qtpy', 'torch'}\n"
        f"import {PLUGIN}.app.layer_functions\n"  # napari asks it about every file
        f"assert '{PLUGIN}.app.explorer' not in sys.modules\n"
        f"import {PLUGIN}.app.explorer\n"
        "assert not sys.modules.keys() & {'torch', 'SimpleITK', 'scipy.ndimage'}\n"
        f"import {ENGINE}, {names}\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_privates_of_others_are_used_in_one_file():
    found = set()
    for file, written in nodes(PLUGIN).items():
        for node in written:
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
                continue
            of = node.value
            called = of.func if isinstance(of, ast.Call) else of
            ours = isinstance(called, ast.Name) and called.id in ("self", "cls", "super")
            if not node.attr.endswith("__") and not ours:
                found.add(file.name)
    assert found <= {PRIVATES}


def bare_tolerances(source: str) -> list[int]:
    """Lines of calls whose tolerance is a number without a comment, on its line or just before."""
    tree, lines = ast.parse(source), source.splitlines()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    simple = [n for n in ast.walk(tree) if isinstance(n, ast.stmt) and not hasattr(n, "body")]
    found = []
    for call in calls:
        named = getattr(call.func, "attr", getattr(call.func, "id", ""))
        keys = ("rel", "abs") if named == "approx" else ("atol", "rtol", "abs_tol", "rel_tol")
        given = [n for k in call.keywords if k.arg in keys for n in ast.walk(k.value)]
        if not any(isinstance(n, ast.Constant) and n.value not in (0, None) for n in given):
            continue
        around = [s for s in simple if s.lineno <= call.lineno and call.end_lineno <= s.end_lineno]
        whole = min(around, key=lambda s: s.end_lineno - s.lineno, default=call)
        if not any("#" in line for line in lines[max(whole.lineno - 2, 0) : whole.end_lineno]):
            found.append(call.lineno)
    return found


def test_every_tolerance_has_a_reason():
    """`tests/tolerances.py` has names for the usual ones; others say beside them what differs."""
    bare = {
        f"{path.name}:{line}"
        for path in Path(__file__).parent.rglob("*.py")
        if re.search(r"(atol|rtol|abs|rel|_tol)=\W*\d", text := path.read_text("utf-8"))
        for line in bare_tolerances(text)
    }
    assert bare == set()
    assert bare_tolerances("x\nassert a == approx(b, abs=1e-3)") == [2]
    assert bare_tolerances("assert a == approx(b, abs=SUMS)  \nallclose(a, b, rtol=0)") == []
    assert bare_tolerances("# Rounded.\nassert allclose(\n    a, b, atol=0.1\n)") == []


def test_docstrings_name_modules_and_functions_that_there_are():
    """A reference such as `module.function` or `module.py` leads somewhere."""
    files = {path.name for path in ROOT.glob("*/**/*.py*")}
    names = defaultdict(set)
    for package in FOLDERS:
        for file, written in nodes(package).items():
            room = file.parent if file.stem == "__init__" else file
            names[file.parent.name].add(room.stem)
            names[file.parent.parent.name].add(file.parent.name)
            for node in written:
                if isinstance(node, ast.ClassDef | ast.FunctionDef):
                    names[room.stem].add(node.name)
                elif isinstance(node, ast.Name | ast.alias):
                    names[room.stem].add(node.id if isinstance(node, ast.Name) else node.name)
    lost = []
    for package in FOLDERS:
        for file in nodes(package):
            text = file.read_text("utf-8")
            for room, name in re.findall(r"`(?:\w+/)*([a-z_]+)\.([A-Za-z_]+)(?:\.\w+)?`", text):
                if name == "py":
                    known = f"{room}.py" in files
                else:  # an object's name in the window, such as "directions.find", is in the code
                    known = name in names[room] or text.count(f"{room}.{name}") > 1
                ours = name == "py" or (room in names and room not in ELSEWHERE)
                if ours and not known and name not in DATA:
                    lost.append(f"{file.name}: {room}.{name}")
    assert not lost
