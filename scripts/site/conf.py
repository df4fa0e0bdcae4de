"""Makes a site of the pages in docs/: `make docs` writes build/site, without a network."""

from __future__ import annotations

import importlib.metadata
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

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# Pages are read on a code host as well, so some links lead to files that are no pages of the site.
_FILE = re.compile(r"(?<!!)\[([^\]]+)\]\(\.\./([^)\s#]+)[^)\s]*\)")
_ABOVE = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
_PAGES = {"README.md": "index.md"} | {name: f"{page}.md" for page, name in _ABOVE.items()}
_PAGES |= {
    f"weights/{card.parent.name}/README.md": "models.md"
    for card in ROOT.glob("weights/*/card.json")
}


def _link(match: re.Match[str]) -> str:
    """A link to the page that holds a file, or else the file's name."""
    text, path = match.groups()
    if path in _PAGES:
        return f"[{text}]({_PAGES[path]})"
    return text if text.strip("`") in path else f"{text} (`{path}`)"


def _page_above(name: str) -> str:
    """A page of the folder above, with its links as seen from here."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\((?![a-z]+:|#|docs/)", "](../", text)
    return text.replace("](docs/", "](")


def _commands() -> str:
    """What every command says of itself, in Markdown."""
    line = [sys.executable, "-m", "typer", "stylegan3d.cli", "utils", "docs"]
    line += ["--name", "stylegan3d"]
    result = subprocess.run(line, capture_output=True, text=True, check=True)
    return result.stdout.partition("\n")[2]


def _read(_app: Any, page: str, source: list[str]) -> None:
    if page in _ABOVE:
        source[0] = _page_above(_ABOVE[page])
    if page == "reference/command-line":
        source[0] += _commands()
    if page.startswith("notebooks/"):
        return
    source[0] = _FILE.sub(_link, source[0])


def setup(app: Any) -> None:
    """Register what is ours with Sphinx."""
    app.connect("source-read", _read)
