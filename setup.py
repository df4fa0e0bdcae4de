"""The page of the package on an index: README with full addresses, links to the sources.

All other metadata is in setup.cfg. Every address follows from `url` in its section `address`; while
that is empty, README goes out as it stands and no link is given.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
_LINK = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


def address() -> str:
    """Where the project lives; empty while no public address is known."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["address"]["url"].rstrip("/")


def with_full_addresses(text: str, url: str) -> str:
    """Markdown whose pictures and links to files of the project lead to the code host at `url`."""
    if not url:
        return text
    views = {"!": "raw", "": "blob"}
    return _LINK.sub(lambda m: f"{m[1]}{m[2]}({url}/{views[m[1]]}/HEAD/{m[3]})", text)


def project_urls(url: str) -> dict[str, str]:
    """The links beside the description, by the names that indexes and napari's hub know."""
    if not url:
        return {}
    return {
        "Homepage": url,
        "Source Code": url,
        "Documentation": f"{url}/blob/HEAD/docs/index.md",
        "Bug Tracker": f"{url}/issues",
        "Changelog": f"{url}/blob/HEAD/CHANGELOG.md",
    }


if __name__ == "__main__":
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=with_full_addresses(readme, address()),
        project_urls=project_urls(address()),
    )
