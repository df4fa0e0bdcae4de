"""Makes a site of the pages in docs/: `make docs` writes build/site, without a network."""

from __future__ import annotations

import importlib.metadata
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

project = "napari-stylegan3d"
author = "The napari-stylegan3d developers"
release = version = importlib.metadata.version("napari-stylegan3d")
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["images"]
html_theme = "furo"
html_title = "napari-stylegan3d"
html_static_path: list[str] = []
html_show_sourcelink = False
html_copy_source = False
templates_path: list[str] = []
# Nothing is fetched from elsewhere: the site reads the same beside a scanner without a network.
html_theme_options: dict[str, Any] = {"source_repository": ""}

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# The notebooks bring their results; `make docs` runs them anew.
nb_execution_mode = "off"

# A page for each name of the reference, under docs/reference/generated, which git ignores.
autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_default_options = {"members": True}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Pages are read on a code host as well, so some links lead to files that are no pages of the site.
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")
#: Pages of the site that show a file above docs/.
_ABOVE = {"contributing": "CONTRIBUTING.md", "reference/changelog": "CHANGELOG.md"}
_PAGES = {"README.md": "docs/index.md"}
_PAGES |= {file: f"docs/{page}.md" for page, file in _ABOVE.items()}
_PAGES |= {
    f"weights/{card.parent.name}/README.md": "docs/reference/models.md"
    for card in ROOT.glob("weights/*/card.json")
}


def _linked(text: str, file: str, page: str) -> str:
    """The text of a file, with its links as the page of the site needs them.

    A link to a file that is no page of the site becomes the file's name.
    """

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        shown = _PAGES.get(path, path)
        if shown.startswith("docs/"):
            place = posixpath.relpath(shown, posixpath.dirname(f"docs/{page}"))
            return f"[{words}]({place}{anchor if shown == path and anchor else ''})"
        return words if words.strip("`") in path else f"{words} (`{path}`)"

    return _LINK.sub(link, text)


def _printed(*line: str) -> str:
    """What a command prints."""
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def _commands() -> str:
    """What every command says of itself, in Markdown."""
    line = (sys.executable, "-m", "typer", "stylegan3d.cli", "utils", "docs")
    return _printed(*line, "--name", "stylegan3d").partition("\n")[2]


def _controls() -> str:
    """The controls of the window, in Markdown: the window is opened for it, in its own process."""
    return _printed(sys.executable, str(ROOT / "scripts/site/controls.py"))


def _licences() -> str:
    """The packages that are installed here, with their licences, in Markdown."""
    listed = _printed(sys.executable, "-m", "piplicenses", "--format=markdown")
    return f"## All that are installed here\n\n{listed}"


#: What is appended to a page while the site is built.
_GENERATED = {
    "reference/command-line": _commands,
    "reference/controls": _controls,
    "reference/licences": _licences,
}


def _read(_app: Any, page: str, source: list[str]) -> None:
    if page.startswith(("notebooks/", "reference/generated/")):
        return
    file = _ABOVE.get(page, f"docs/{page}.md")
    text = (ROOT / file).read_text(encoding="utf-8") if page in _ABOVE else source[0]
    source[0] = _linked(text, file, page) + "\n"
    source[0] = source[0].replace("{{ version }}", version)
    if page in _GENERATED:
        source[0] += "\n" + _GENERATED[page]()


def setup(app: Any) -> None:
    """Register what is ours with Sphinx."""
    app.connect("source-read", _read)
