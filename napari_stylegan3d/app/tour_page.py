"""The page that shows the tour's pictures."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from stylegan3d.storage.files import atomic_write_text

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>StyleGAN 3D: a tour of the explorer</title>
<style>
body {{ margin: 2em auto; max-width: 1100px; font: 16px/1.5 sans-serif; background: #23242b;
       color: #f0f1f2; }}
figure {{ margin: 0 0 2.5em; }}
img {{ width: 100%; border-radius: 6px; }}
figcaption {{ margin-top: .4em; color: #c3c8ce; }}
a {{ color: #8fa8ff; }}
</style>
<h1>A tour of the explorer</h1>
<p>Synthetic images: not for diagnosis.</p>
{figures}
<h2>Files</h2>
<ul>
{files}
</ul>
"""


def write_page(out: Path, pictures: Sequence[tuple[str, str]]) -> Path:
    """Write `index.html` with (file, text) pictures and links to the other files of the folder."""
    figures = "\n".join(
        f'<figure><img src="{file}" alt="{html.escape(text)}">'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
        for file, text in pictures
    )
    others = sorted(p.name for p in out.iterdir() if p.suffix not in (".png", ".html"))
    files = "\n".join(f'<li><a href="{html.escape(n)}">{html.escape(n)}</a></li>' for n in others)
    path = out / "index.html"
    atomic_write_text(path, PAGE.format(figures=figures, files=files), overwrite=True)
    return path
