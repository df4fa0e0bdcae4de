"""The user guide names what the window has, and leaves none of its controls out."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGES = sorted((ROOT / "docs" / "window").glob("*.md"))
PACKAGE = ROOT / "napari_stylegan3d"
#: Set in italics or bold, and no control: what the engine calls its results and directions,
#: headings of paragraphs and tables.
OTHER = {
    *("age +2", "ventricle volume", "larger head", "front tilted up", "shape of a, folds of b"),
    *("attributes", "principal components", "a direction of your own", "nifti-1 and nifti-2"),
    *("brain extraction", "bias correction", "rigid alignment", "resampling"),
    *("the brain reaches the edge of the field of view", "typical features only"),
    *("outside what this model knows",),
    "such a file contains the patient's brain: protect it like the scan",
    *("synthetic data", "synthesizing equipment", "its patient and study"),  # of DICOM
}
BUTTONS = ("push_button", "tool_button")
#: What makes a control, or an entry of a menu, and which argument its words are.
MAKERS = {"Fold": 0, "QCheckBox": 0, "addAction": 0, "addMenu": 0, **dict.fromkeys(BUTTONS, 1)}
#: Says that a menu is empty.
NO_CONTROL = {"nothing yet: star a brain, or open a scan", "no earlier sessions yet"}
SIGNS = re.compile(r"[…▾↺⋯☆★◀▶⏸×*`\s]+")
#: Names of controls, files and modules.
FOR_PROGRAMS = re.compile(r"[a-z0-9_]*([._][a-z0-9_]+)+")


def plain(text: str) -> str:
    """Without signs, in small letters."""
    return SIGNS.sub(" ", text).strip().rstrip(".:").lower()


def table() -> dict[str, list[list[str]]]:
    """The window's table of texts."""
    return tomllib.loads((PACKAGE / "widgets" / "texts.toml").read_text("utf-8"))


def texts() -> set[str]:
    """Everything the window says."""
    engine = ROOT / "src" / "stylegan3d"
    sources = {
        *PACKAGE.rglob("*.py"),
        *(engine / "settings").glob("*.py"),
        *engine.rglob("settings.py"),
    }
    said = {text for path in sources for text in literals(path)}
    said |= {str(text) for rows in table().values() for row in rows for text in row}
    return {plain(text) for text in said if not FOR_PROGRAMS.fullmatch(text)}


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All that is written in a file."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def literals(path: Path) -> Iterator[str]:
    """Strings of a file that are no documentation; of those with values inserted the whole."""
    documentation = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.JoinedStr):
            yield ast.unparse(node)
        elif isinstance(getattr(node, "value", None), str) and id(node) not in documentation:
            yield node.value


def prose() -> str:
    return re.sub(
        r"```.*?```",
        "",
        "\n".join(page.read_text(encoding="utf-8") for page in PAGES),
        flags=re.DOTALL,
    )


def named() -> Iterator[str]:
    """What the guide sets in bold or italics; the steps of a way through menus one by one."""
    for bold, italic in re.findall(r"\*\*([^*\n]+)\*\*|(?<![*\w])\*([^*\n]+)\*(?!\*)", prose()):
        for step in (bold or italic).split("›"):
            yield plain(step)


def controls() -> Iterator[str]:
    """Words on buttons, switches, folds and entries of menus."""
    yield from (plain(text) for _name, text, _tip in table()["buttons"])
    for path in PACKAGE.rglob("*.py"):
        for node in nodes(path):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            maker = getattr(node.func, "attr", getattr(node.func, "id", ""))
            for text in node.args[MAKERS[maker] :][:1] if maker in MAKERS else ():
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield plain(text.value)


def test_every_control_that_the_guide_names_is_there():
    said = texts()
    names = set(named()) - OTHER
    assert len(names) > 60, "the guide's names are not found"
    missing = {name for name in names if not any(name in text for text in said)}
    assert missing == set()


def test_every_button_of_the_table_is_made():
    calls = (n for p in PACKAGE.rglob("*.py") for n in nodes(p) if isinstance(n, ast.Call))
    made = {a.value for n in calls for a in n.args[:2] if isinstance(a, ast.Constant)}
    names = [name for name, *_ in table()["buttons"]]
    assert set(names) <= made
    assert len(set(names)) == len(names) > 60


def test_every_control_is_in_the_guide():
    guide = " ".join(plain(prose()).split())
    words = set(controls()) - NO_CONTROL - {""}
    assert len(words) > 60, "the window's controls are not found"
    assert {word for word in words if word not in guide} == set()
