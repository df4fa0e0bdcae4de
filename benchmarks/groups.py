"""Do group comparisons find ageing, and nothing where there is nothing?

    python benchmarks/groups.py PACK

Latents are the encoder's of the subjects of one source of a prepared dataset. The old are compared
with the young; then groups are drawn by lot, 200 times: with one scan of each subject, and with
everybody twice, the second time with a latent that differs a little, as that of a rescan does.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

import stylegan3d
from stylegan3d.dataset.pack import load_pack
from stylegan3d.directions.people import read_value_table
from stylegan3d.evaluation.groups import compare_latents, design_of, permuted
from stylegan3d.evaluation.settings import GroupSettings
from stylegan3d.metrics.comparison import wilson
from stylegan3d.render.movement import deformation_between

OLD, YOUNG, EACH = 62, 32, 20
#: Difference between latents of two scans of one subject, as a share of that between subjects.
RESCAN = 0.3


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("--source", default="IXI", help="only subjects of this source")
    parser.add_argument("--draws", type=int, default=200, help="groups by lot")
    arguments = parser.parse_args()
    generator, pack = stylegan3d.load(), load_pack(arguments.pack)
    rows = [
        i
        for i, row in enumerate(pack.table)
        if arguments.source in str(row.get("source")) and row.get("age") is not None
    ]
    ages = np.array([pack.table[i]["age"] for i in rows])
    sexes = [pack.table[i]["sex"] for i in rows]
    latents = np.stack([encoded(generator, pack.volumes[i]) for i in rows])
    old, young = (np.flatnonzero(side)[:EACH] for side in (ages >= OLD, ages <= YOUNG))
    chosen = np.concatenate([old, young])
    table = [["brain", "group", "sex"]]
    table += [[int(i), "old" if i in old else "young", sexes[i]] for i in chosen]
    read, names = table_of(table)
    found = compare_latents(
        generator,
        latents[chosen],
        read,
        "group",
        ["sex", "head size"],
        names,
        settings=GroupSettings(seed=1),
    )
    voxels = (found.maps.q <= 0.05).mean()
    print(
        f"{len(old)} of {OLD} and older, {len(young)} of {YOUNG} and younger; sex, head size held"
    )
    print(
        f"voxels that differ at q 0.05: {voxels:.0%}; smallest p_any {found.maps.p_any.min():.3g}"
    )
    for row in found.regions:
        print(f"{row['region']:24s} {row['effect_percent'][0]:+6.1f} %  q {row['q']:.3f}")
    by_lot(generator, latents[chosen], arguments.draws)
    return 0


def encoded(generator: stylegan3d.Generator, volume: np.ndarray) -> np.ndarray:
    """The encoder's latent of a volume of a pack."""
    image = torch.from_numpy(np.array(volume, np.float32))[None, None] / 127.5 - 1
    with torch.no_grad():
        return generator.encoder(image)[0].double().numpy()


def table_of(rows: list[list[object]]) -> tuple[object, list[str]]:
    """A table as the program reads it, and whose brain each row is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "people.csv")
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        read = read_value_table(path)
    return read, list(read.named or read.brains)


def by_lot(generator: stylegan3d.Generator, latents: np.ndarray, draws: int) -> None:
    """Share of findings among groups drawn by lot."""
    w = torch.from_numpy(latents).float()
    random = np.random.default_rng(0)
    spread = torch.from_numpy(latents.std(axis=0)).float()
    again = w + RESCAN * spread * torch.from_numpy(random.standard_normal(w.shape)).float()
    mean = w.mean(dim=0)
    logs = []
    for one in torch.cat([w, again]):
        jacobian = deformation_between(generator, one, mean).jacobian
        logs.append(np.log(np.maximum(jacobian, 1e-3))[::2, ::2, ::2].ravel())
    first, both = np.stack(logs[: len(w)]), np.stack(logs)
    for title, values, copies in (("one scan each", first, 1), ("everybody twice", both, 2)):
        any_found, single = 0, []
        for draw in range(draws):
            group = np.random.default_rng(draw).permutation(np.arange(len(w)) % 2)
            rows = [["brain", "participant_id", "group"]]
            rows += [[k, f"sub-{k % len(w)}", "ab"[group[k % len(w)]]] for k in range(len(values))]
            read, names = table_of(rows)
            design = design_of(read, "group", [], names)
            tested = permuted(
                design.averaged(values),
                design.interest,
                design.fixed,
                blocks=design.blocks,
                permutations=200,
                seed=draw,
            )
            any_found += bool((tested.p_any <= 0.05).any())
            single.append((tested.p <= 0.05).mean())
        low, high = wilson(any_found, draws)
        print(
            f"{title}: p at most 0.05 in {np.mean(single):.3f} of voxels; corrected p in "
            f"{any_found / draws:.3f} ({low:.3f} to {high:.3f}) of {draws} draws ({copies} x "
            f"{len(w)} brains)"
        )


if __name__ == "__main__":
    sys.exit(main())
