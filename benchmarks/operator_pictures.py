"""The pictures of docs/howto/degraded-scans.md: one per operator, from a sample scan.

    python benchmarks/operator_pictures.py --out FOLDER [--steps 12]

Each shows the scan, the data made from it, a simple reconstruction, and the generator's with the
data put back in, with their PSNR inside the brain, of the mask's inside the mask.
"""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from operators import psnr, reconstruct
from PIL import Image, ImageDraw, ImageFont

from stylegan3d.model.loading import load
from stylegan3d.scans import read_scan

SAMPLE = "novosibirsk-sub-09_T1w.nii.gz"
# What is shown, and what the simple way is called.
PICTURES = {
    "resection": ("mask", "harmonic filling"),
    "thick:5mm:S": ("thick", "cubic interpolation"),
    "blur:3mm": ("blur", "smoothest fit"),
    "kspace:4x:A": ("kspace", "smoothest fit"),
    "contrast": ("contrast", "matched histogram"),
}
ZOOM, CAPTION = 3, 22


def panel(volume: np.ndarray, where: tuple[int, int], caption: str) -> Image.Image:
    """A slice, with the front or the top of the head up, and a line of text below it."""
    axis, index = where
    plane = np.take(volume, index, axis=axis)
    grey = (255 * np.clip(plane.T[::-1], 0, 1)).astype(np.uint8)
    picture = Image.fromarray(grey).resize((grey.shape[1] * ZOOM, grey.shape[0] * ZOOM))
    whole = Image.new("L", (picture.width, picture.height + CAPTION))
    whole.paste(picture)
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(14)
    draw.text((whole.width / 2, picture.height + 2), caption, 255, font=font, anchor="ma")
    return whole


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--only", help="one operator's name, such as mask")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    generator = load()
    with resources.as_file(resources.files("napari_stylegan3d") / "samples" / SAMPLE) as path:
        brain = read_scan(path).align(generator).volume
    for task, (name, simple) in PICTURES.items():
        if args.only not in (None, name):
            continue
        ways, inside = reconstruct(generator, task, brain, args.steps)
        # Thick slices show from the side, masks where they are largest.
        axis = 0 if name == "thick" else 2
        counts = inside.sum(axis=tuple(a for a in range(3) if a != axis))
        where = (axis, int(counts.argmax()) if name == "mask" else brain.shape[axis] // 2)
        shown = dict(ways)
        if name == "mask":
            shown["data"] = np.where(inside, 0, brain)
        panels = [panel(brain, where, "scan")]
        for way, caption in (("data", "data"), ("interpolated", simple), ("restored", "restored")):
            decibels = psnr(ways[way][inside], brain[inside])
            told = caption if name == "mask" and way == "data" else f"{caption} {decibels:.1f} dB"
            panels.append(panel(shown[way], where, told))
        row = Image.new("L", (sum(p.width for p in panels), panels[0].height))
        for i, part in enumerate(panels):
            row.paste(part, (sum(p.width for p in panels[:i]), 0))
        row.save(args.out / f"operator-{name}.png", optimize=True)
        print(name, *(f"{way} {psnr(x[inside], brain[inside]):.2f}" for way, x in ways.items()))


if __name__ == "__main__":
    main()
