"""The structure of the code in figures: rooms, arrows between them, circles.

    python scripts/structure.py            the table
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


def imports(name: str, file: Path, known: dict[str, Path]) -> Iterator[tuple[str, bool]]:
    """(module, whether inside a function) of each import of a module of ours."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
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
                yield module, id(node) in inside


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
    """

    files: dict[str, Path]
    arrows: dict[tuple[Room, Room], set[str]]
    loops: list[list[str]]
    deferred: int

    @classmethod
    def read(cls) -> Structure:
        """Of the code as it is."""
        files = modules()
        graph: dict[str, set[str]] = {name: set() for name in files}
        arrows: dict[tuple[Room, Room], set[str]] = defaultdict(set)
        deferred = 0
        for name, file in files.items():
            for target, inside in imports(name, file, files):
                graph[name].add(target)
                deferred += inside
                if room(name) != room(target):
                    arrows[room(name), room(target)].add(f"{name} -> {target}")
        return cls(files, arrows, circles(graph), deferred)

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


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arrows", action="store_true", help="name the files")
    args = parser.parse_args()
    found = Structure.read()
    texts = [file.read_text(encoding="utf-8") for file in found.files.values()]
    rows = [
        ("files", len(found.files)),
        ("lines", sum(len(text.splitlines()) for text in texts)),
        ("modules at the engine's root", len(found.at_root("stylegan3d"))),
        ("modules at the plugin's root", len(found.at_root("napari_stylegan3d"))),
        ("arrows between rooms", len(found.arrows)),
        ("the same, the plugin one room", len(found.between_subjects)),
        ("arrows upwards", len(found.upward)),
        ("import circles", len(found.loops)),
        ("modules in circles", sum(map(len, found.loops))),
        ("imports inside functions", found.deferred),
    ]
    for title, value in rows:
        print(f"{title:32}{value:>8}")
    if args.arrows:
        for (a, b), drawn in sorted(found.upward.items()):
            print(f"\n{'.'.join(a)} -> {'.'.join(b)}")
            print("\n".join(f"  {one}" for one in sorted(drawn)))
        for loop in found.loops:
            print("\ncircle of", len(loop), *loop, sep="\n  ")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
