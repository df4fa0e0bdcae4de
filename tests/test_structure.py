"""The code keeps its order: rooms import what lies below them, and nothing in a circle."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

STRUCTURE = Path(__file__).parents[1] / "scripts" / "structure.py"
ENGINE, PLUGIN = "stylegan3d", "napari_stylegan3d"
#: The one file that uses what vispy keeps to itself: it draws a canvas larger than its window.
PRIVATES = "canvases.py"


@pytest.fixture(scope="module")
def structure():
    return runpy.run_path(str(STRUCTURE), run_name="structure")["Structure"].read()


def test_no_module_of_the_engine_imports_itself_by_way_of_others(structure):
    assert not [loop for loop in structure.loops if loop[0].split(".")[0] == ENGINE]


def test_rooms_of_the_engine_import_rooms_below_them(structure):
    upward = {pair: drawn for pair, drawn in structure.upward.items() if pair[0][0] == ENGINE}
    assert not upward


def test_rooms_depend_on_few_others(structure):
    assert len(structure.between_subjects) <= 240
    assert len(structure.arrows) <= 271


def test_the_figures_stand_in_the_page_and_the_tests_that_measure_them_exist(structure):
    root = STRUCTURE.parents[1]
    page = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert structure.table in page, "copy what scripts/structure.py prints to CONTRIBUTING.md"
    for named in re.findall(r"`(tests/[^`]+)`", structure.table):
        file, _, test = named.partition("::")
        assert f"def {test}" in (root / file).read_text(encoding="utf-8")


def test_docstrings_have_types_in_the_type_slot(structure):
    assert not structure.untyped


def test_few_modules_lie_in_no_room(structure):
    assert len(structure.at_root(ENGINE)) <= 8


def test_recipes_import_no_models(structure):
    below = {"", "storage", "geometry"}
    drawn = {b[1] for a, b in structure.arrows if a == (ENGINE, "recipe")}
    assert drawn <= below


def test_torch_is_loaded_when_it_is_needed():
    modules = "cli storage.places outputs.report recipe.text recipe.walk session.store"
    names = ", ".join(f"{ENGINE}.{name}" for name in ["scans.reading", *modules.split()])
    # The window, too, opens before they are there.
    code = (
        f"import sys, {PLUGIN}.app.explorer\n"
        "assert not sys.modules.keys() & {'torch', 'SimpleITK', 'scipy.ndimage'}\n"
        f"import {ENGINE}, {names}\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_module_of_the_window_imports_itself_by_way_of_others(structure):
    assert not [loop for loop in structure.loops if loop[0].split(".")[0] == PLUGIN]


def test_rooms_of_the_window_import_rooms_below_them_and_features_no_others(structure):
    upward = {pair: drawn for pair, drawn in structure.upward.items() if pair[0][0] == PLUGIN}
    assert not upward


def test_few_modules_of_the_window_lie_in_no_room(structure):
    assert len(structure.at_root(PLUGIN)) <= 4


def test_features_know_nothing_of_the_whole_window(structure):
    whole = f"{PLUGIN}.app.explorer"
    known = {
        drawn
        for (a, b), files in structure.arrows.items()
        for drawn in files
        if drawn.endswith(whole) and a[1] != "app"
    }
    assert not known


def test_privates_of_others_are_used_in_one_file():
    found = set()
    for file in (STRUCTURE.parents[1] / PLUGIN).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
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
