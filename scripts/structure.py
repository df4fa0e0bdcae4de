"""The structure of the code in figures: rooms, arrows between them, circles.

    python scripts/structure.py            the table, which stands in CONTRIBUTING.md too
    python scripts/structure.py --arrows   which file draws each upward arrow, and the circles

An arrow is a room (a folder) whose files import another room. `ORDER` lists the rooms from the
ground up; an arrow to a room further up is wrong. Imports inside functions and those for type
checkers alone count like all others.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "stylegan3d": ROOT / "src" / "stylegan3d",
    "napari_stylegan3d": ROOT / "napari_stylegan3d",
}
#: Package and folder.
Room = tuple[str, str]
#: What others see of a package: `__init__` and `__main__`, above all rooms.
FACE = "the package itself"
ENGINE = (
    "",  # the modules at the engine's root
    "storage",
    "pages",
    "geometry",
    "recipe",
    "settings",
    "networks",
    "checkpoints",
    "scans",
    "session",  # a case is a scan with its pose
    "model",
    "render",
    "dataset",
    "segmentation",
    "measures",
    "projection",
    "translation",
    "directions",
    "metrics",
    "training",
    "outputs",
    "evaluation",
    "cohort",
    "cli",
    FACE,
)
#: Features of the window stand beside each other: none imports another.
FEATURES = (
    "browse",
    "project",
    "mix",
    "directions",
    "compare",
    "measure",
    "labels",
    "export",
    "history",
)
#: Views show pictures and know nothing of recipes or models; what is on the screen, and what makes
#: it (core), uses them. So they stand below core.
PLUGIN = ("widgets", "views", "core", *FEATURES, "app", FACE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
#: Figures that tests measure: title, aim, what is measured now, and the test.
TESTED = (
    (
        "functions from a slider of Mix to voxels",
        "at most 12",
        "12",
        "gui/mix/test_mix.py::test_it_is_not_far_from_a_slider_to_voxels",
    ),
    (
        "functions from a scan's file to the reconstruction in native space",
        "at most 14",
        "14",
        "cli/test_project.py::test_the_way_of_a_scan_is_short_and_its_tissues_are_read_twice",
    ),
    (
        "runs of the tissue network in one projection",
        "at most 2",
        "2",
        "cli/test_project.py::test_the_way_of_a_scan_is_short_and_its_tissues_are_read_twice",
    ),
    (
        "files touched by a new metric",
        "at most 2",
        "2",
        "evaluation/test_table.py::test_a_new_metric_is_measured_and_reported_everywhere",
    ),
    (
        "files touched by a new format",
        "1",
        "2 (the table, `napari.yaml`)",
        "gui/app/test_plugin.py::test_manifest_dialogs_and_drops_take_the_same_formats",
    ),
    (
        "files touched by a new panel",
        "at most 3",
        "3",
        "gui/app/test_new_panel.py::test_a_new_panel_is_in_the_dock_and_works_on_the_shown_brain",
    ),
    ("files touched by a new family", "1", "1", "families/test_families.py"),
)


def modules() -> dict[str, Path]:
    """The file of each module, by its dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            if "weights" in file.relative_to(folder).parts:
                continue
            parts = file.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *parts]).removesuffix(".__init__")
            found[name] = file
    return found


def statements(node: ast.AST, inside: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """All statements, each with whether it stands in a function."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, field, ()):
            yield child, inside
            yield from statements(child, inside or isinstance(child, FUNCTIONS))


def imports(name: str, tree: ast.Module, known: dict[str, Path]) -> Iterator[tuple[str, bool]]:
    """(module, whether inside a function) of each import of a module of ours."""
    for node, inside in statements(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            wanted = [
                full if (full := f"{node.module}.{alias.name}") in known else node.module
                for alias in node.names
            ]
        else:
            continue
        for module in wanted:
            if module in known and module != name:
                yield module, inside


def without_type(tree: ast.Module) -> Iterator[str]:
    """Parameters and attributes in docstrings (numpydoc) that have no type in the type slot."""
    for node, _ in statements(tree):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        section, lines = "", (ast.get_docstring(node) or "").splitlines()
        for line, below in pairwise([*lines, ""]):
            if below and not below.strip("-"):
                section = line
            elif section in ("Parameters", "Attributes") and line[:1].strip(" -"):
                _, colon, kind = line.partition(" : ")
                if not colon or kind.endswith("."):
                    yield f"{node.name}: {line}"


def room(module: str) -> Room:
    """Package and folder of a module."""
    package, *rest = module.split(".")
    if not rest or rest == ["__main__"]:
        return package, FACE
    nested = rest[:1] if (PACKAGES[package] / "/".join(rest[:1])).is_dir() else []
    return package, nested[0] if nested else ""


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other in a loop (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = []
            while not group or group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    sys.setrecursionlimit(10_000)
    for node in graph:
        if node not in index:
            visit(node)
    return found


def is_upward(a: Room, b: Room) -> bool:
    """Whether an arrow from one room to another runs against the order of the rooms."""
    if a[0] != b[0]:
        return a[0] == "stylegan3d"
    if a[0] == "napari_stylegan3d" and a[1] in FEATURES and b[1] in FEATURES:
        return True
    order = ENGINE if a[0] == "stylegan3d" else PLUGIN
    return order.index(b[1]) > order.index(a[1])


@dataclass(frozen=True)
class Structure:
    """What is counted.

    Attributes
    ----------
    files : of each module.
    arrows : (room, room) -> the imports that draw it, as "module -> module".
    loops : groups of modules that import each other.
    deferred : imports inside functions.
    untyped : entries of docstrings without a type.
    """

    files: dict[str, Path]
    arrows: dict[tuple[Room, Room], set[str]]
    loops: list[list[str]]
    deferred: int
    untyped: list[str]

    @classmethod
    def read(cls) -> Structure:
        """Of the code as it is."""
        files = modules()
        graph: dict[str, set[str]] = {name: set() for name in files}
        arrows: dict[tuple[Room, Room], set[str]] = defaultdict(set)
        deferred, untyped = 0, []
        for name, file in files.items():
            tree = ast.parse(file.read_text(encoding="utf-8"))
            untyped += [f"{name}, {entry}" for entry in without_type(tree)]
            for target, inside in imports(name, tree, files):
                graph[name].add(target)
                deferred += inside
                if room(name) != room(target):
                    arrows[room(name), room(target)].add(f"{name} -> {target}")
        return cls(files, arrows, circles(graph), deferred, untyped)

    @property
    def between_subjects(self) -> set[tuple[Room, Room]]:
        """The arrows between rooms, with the whole plugin as one."""
        window = ("napari_stylegan3d", "")
        merged = {
            tuple(window if place[0] == window[0] else place for place in pair)
            for pair in self.arrows
        }
        return {(a, b) for a, b in merged if a != b}

    @property
    def upward(self) -> dict[tuple[Room, Room], set[str]]:
        """The arrows against the order of the rooms."""
        return {pair: drawn for pair, drawn in self.arrows.items() if is_upward(*pair)}

    def at_root(self, package: str) -> list[str]:
        """The modules of a package that lie in no room."""
        return [name for name in self.files if room(name) in ((package, ""), (package, FACE))]

    @property
    def table(self) -> str:
        """What is aimed at and what is reached, as a table in Markdown."""
        engine, plugin = (len(self.at_root(package)) for package in PACKAGES)
        rows = [
            ("import circles, counting imports inside functions", "0", len(self.loops), ""),
            ("arrows upwards", "0", len(self.upward), ""),
            (
                "arrows between rooms, the plugin as one room",
                "at most 240",
                len(self.between_subjects),
                "",
            ),
            ("arrows between rooms, each room of the plugin by itself", "", len(self.arrows), ""),
            ("modules at the engine's root", "at most 8", engine, ""),
            ("modules at the plugin's root", "at most 4", plugin, ""),
            ("entries of docstrings without a type", "0", len(self.untyped), ""),
            *((title, aim, now, f"`tests/{test}`") for title, aim, now, test in TESTED),
        ]
        heads = ("Figure", "Aim", "Now", "Test"), ("---",) * 4
        return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (*heads, *rows))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arrows", action="store_true", help="name the files")
    args = parser.parse_args()
    found = Structure.read()
    lines = sum(len(f.read_text(encoding="utf-8").splitlines()) for f in found.files.values())
    print(found.table)
    print(f"\n{len(found.files)} files, {lines:,} lines, {found.deferred} imports inside functions")
    if args.arrows:
        for (a, b), drawn in sorted(found.upward.items()):
            print(f"\n{'.'.join(a)} -> {'.'.join(b)}")
            print("\n".join(f"  {one}" for one in sorted(drawn)))
        for loop in found.loops:
            print("\ncircle of", len(loop), *loop, sep="\n  ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
