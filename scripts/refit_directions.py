"""Fit the directions of a bundled model anew, and write its card and page.

    stylegan3d prepare BRAINS --out data/brains
    python scripts/refit_directions.py weights/brain-t1-2mm data/brains
    python scripts/refit_directions.py weights/brain-t1-2mm data/brains --told

Principal components keep their vectors. With `--told` the directions stay, and what is told of them
is written anew: the range of the training subjects along each, ageing, and the measured change.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from stylegan3d.dataset.pack import load_pack
from stylegan3d.directions.attributes import (
    check_edits,
    fit_people,
    seen_in_people,
    without_failures,
)
from stylegan3d.directions.people import ageing, describe, encode_people
from stylegan3d.model.card import card_text
from stylegan3d.model.generator import load
from stylegan3d.recipe.directions import Directions, join
from stylegan3d.recipe.latents import save_directions
from stylegan3d.storage.files import sha256_of

FILE = "directions.safetensors"


def refitted(folder: Path, data: Path) -> Directions:
    """Attributes fitted anew, components as they are."""
    generator = load(folder, device="cpu")
    before = generator.directions
    people = encode_people(generator, load_pack(data))
    fitted_now = fit_people(generator, people)
    assert fitted_now is not None
    kept = [k for k, name in enumerate(before.names) if name not in before.attributes]
    components = Directions(
        before.vectors[kept],
        before.std[kept],
        before.explained_variance[kept],
        tuple(before.names[k] for k in kept),
        before.model_hash,
        before.model_name,
        {before.names[k]: before.descriptions[before.names[k]] for k in kept},
    )
    after = without_failures(check_edits(generator, fitted_now))
    return seen_in_people(join(after, components), people)


def main() -> None:
    """Refit and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--told", action="store_true")
    args = parser.parse_args()
    path = args.folder / "card.json"
    card = json.loads(path.read_text())
    if args.told:
        generator = load(args.folder, device="cpu")
        people = encode_people(generator, load_pack(args.data))
        found = seen_in_people(generator.directions, people)
        now = ageing(people)
        told = [one | {"ageing": now} if "ageing" in one else one for one in found.checks]
        words = {**found.descriptions, **{one["name"]: describe(one) for one in told}}
        words = {name: words[name] for name in found.names if name in words}
        found = replace(found, checks=tuple(told), descriptions=words)
    else:
        found = refitted(args.folder, args.data)
    card["directions"] = list(found.checks)
    save_directions(args.folder / FILE, found, overwrite=True)
    card["files"][FILE] = sha256_of(args.folder / FILE)
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    (args.folder / "README.md").write_text(card_text(card))


if __name__ == "__main__":
    main()
