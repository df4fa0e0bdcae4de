"""Build stylegan3d-models, the wheel with the other families of generators: `make release`.

The product's own wheel holds the default model and the networks that every user needs. This one
only holds model folders; the program finds them wherever they are installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "stylegan3d_models"
MODELS = ("diffusion-t1-2mm", "stylegan-t1-2mm", "vae-t1-2mm")
PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "stylegan3d-models"
version = "{version}"
description = "More generators of brains for napari-stylegan3d"
readme = "README.md"
license = "CC-BY-SA-3.0"

[tool.setuptools]
packages = ["{package}"]
package-data = {{ {package} = ["*/*"] }}
"""
README = """\
# Generators for napari-stylegan3d

{models}: model folders with their cards, which state training data, licences and figures.
The program lists them under *Open* once this package is installed.
"""


def main() -> int:
    """Build the wheel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("dist"))
    print(build(parser.parse_args().out))
    return 0


def build(out: Path) -> Path:
    """The wheel's path.

    Raises
    ------
    subprocess.CalledProcessError
        If it cannot be built.
    """
    with tempfile.TemporaryDirectory() as temporary:
        source, built = Path(temporary, "source"), Path(temporary, "built")
        for name in MODELS:
            shutil.copytree(ROOT / "weights" / name, source / PACKAGE / name)
        (source / PACKAGE / "__init__.py").write_text('"""Folders of models."""\n')
        project = PROJECT.format(version=version("napari-stylegan3d"), package=PACKAGE)
        (source / "pyproject.toml").write_text(project)
        (source / "README.md").write_text(README.format(models=" and ".join(MODELS)))
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built]
        subprocess.run([*command, source], check=True, stdout=subprocess.DEVNULL)
        (wheel,) = built.glob("*.whl")
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(wheel, out / wheel.name))


if __name__ == "__main__":
    sys.exit(main())
