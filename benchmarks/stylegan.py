"""How far a StyleGAN is that is trained at half the resolution of an anatomy model.

    python benchmarks/stylegan.py MODEL PACK RUN [RUN ...] [--brains 111] [--montage PNG]
        [--cache FOLDER]

PACK is the data set of the anatomy model MODEL, and each RUN a folder with the checkpoint of
`stylegan3d train stylegan` on the same data at half the resolution (`halved` of `ablations.py`
makes it). Random brains of the run and of the model, and people, are compared at that resolution:
how often they are told by tissue shape and by cubes (0.5 is chance; all are continued to the full
resolution by the same filter, which the tissue network reads), how alike they are (MS-SSIM of
pairs), and their Fréchet distance, precision and recall as in `ablations.py`. Prints one JSON
object for each run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _shape import shape_key, soft, softened, told, unpacked
from ablations import People, halved, random_brains

from stylegan3d.dataset.pack import Pack, load_pack
from stylegan3d.evaluation.cubes import classify_cubes
from stylegan3d.evaluation.store import Store
from stylegan3d.geometry.slicing import draw_montage
from stylegan3d.measures.tissue_shape import tissue_shapes
from stylegan3d.metrics.diversity import pair_ms_ssim, random_pairs
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.loading import load
from stylegan3d.model.sampling import RandomBrains
from stylegan3d.training.run import load_run
from stylegan3d.training.stylegan import StyleGANRecipe, StyleGANRun

PAIRS = 200


def alike(volumes: np.ndarray) -> float:
    """Mean MS-SSIM of pairs of a set."""
    return float(pair_ms_ssim(volumes, random_pairs(len(volumes), PAIRS)).mean())


class Judge:
    """People and brains of the model at half the resolution, and what is measured of both."""

    def __init__(self, model: Path, pack: Pack, half: Pack, brains: int, store: Store) -> None:
        generator = load(model, device="cpu")
        self.taps, self.pack, self.half = anatomy_network(generator).config.fine_taps, pack, half
        self.people = People(half)
        count = min(brains, len(self.people.first))
        self.count = count
        training = half.indices("train")
        order = np.random.default_rng(0).permutation(len(training))[: 2 * count]
        self.some, self.others = (
            np.stack(self._continued([half.volumes[training[k]] for k in part]))
            for part in (order[:count], order[count:])
        )
        self.names = [str(half.table[training[k]]["person"]) for k in order]
        full = RandomBrains(generator, range(count)).stack()
        self.model_full = np.stack([softened(volume, self.taps) for volume in full])
        self.model = full.reshape(count, *(s for n in half.space.shape for s in (n, 2)))
        self.model = np.rint(self.model.mean(axis=(2, 4, 6))).astype(np.uint8)

        def shapes(name: str, volumes: Sequence[np.ndarray]) -> np.ndarray:
            key = shape_key(name, generator.hash, pack, len(volumes))
            return store.array("shape", key, lambda: tissue_shapes(volumes, pack.space))

        self.training, self.held_out = (
            shapes(s, self._continued([half.volumes[row] for row in half.indices(s)]))
            for s in ("train", "validation")
        )
        self.as_it_is = shapes("model", list(self.model_full))

    def _continued(self, volumes: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [soft(unpacked(volume), self.taps) for volume in volumes]

    def report(self, run: StyleGANRun) -> tuple[dict[str, Any], np.ndarray]:
        """The figures of a run, and its brains, uint8 at full resolution."""
        made = np.concatenate(
            list(random_brains(*(run.averages[n] for n in ("mapping", "synthesis")), self.count))
        )
        continued = self._continued(list(made))
        full = np.stack(continued)
        sets = {"stylegan": tissue_shapes(continued, self.pack.space), "model": self.as_it_is}
        report: dict[str, Any] = {"steps": run.steps, "seconds": round(run.seconds)}
        report |= told(sets, self.training, self.held_out)
        report["cubes"] = {
            name: self._cubes(first, name)
            for name, first in (
                ("stylegan", full),
                ("model", self.model_full),
                ("people", self.others),
            )
        }
        report["distribution"] = {
            name: {k: round(float(v), 3) for k, v in self.people.compare(volumes).items()}
            | {"ms_ssim": round(alike(volumes), 3)}
            for name, volumes in (("stylegan", made), ("model", self.model))
        }
        people = np.stack([self.half.volumes[row] for row in self.half.indices("train")])
        ms_ssim = round(alike(people), 3)
        report["distribution"]["people"] = {"ms_ssim": ms_ssim}
        return report, full

    def _cubes(self, first: np.ndarray, name: str) -> float:
        names = self.names[self.count :]
        whose = names if name == "people" else [f"{name} {k}" for k in range(len(first))]
        known = [*whose, *self.names[: self.count]]
        mask = self.pack.template > 0.05
        found = classify_cubes(first, self.some, known, mask, self.pack.space)
        return round(found.accuracy()[0], 3)


@torch.inference_mode()
def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--brains", type=int, default=111)
    parser.add_argument("--montage", type=Path, help="of the last run's brains")
    parser.add_argument("--cache", type=Path, help="where measures of people are kept")
    wanted = parser.parse_args()
    pack = load_pack(wanted.pack)
    with tempfile.TemporaryDirectory() as folder:
        half = halved(pack, Path(folder) / "half")
        judge = Judge(wanted.model, pack, half, wanted.brains, Store(wanted.cache))
        for run in wanted.run:
            report, brains = judge.report(load_run(StyleGANRecipe, run, torch.device("cpu")))
            print(json.dumps(report), flush=True)
    if wanted.montage is not None:
        columns: dict[str, Sequence[np.ndarray]] = {
            "stylegan": list(brains[:6]),
            "model": list(judge.model_full[:6]),
            "people": list(judge.some[:6]),
        }
        wanted.montage.write_bytes(draw_montage(columns, pack.space))


if __name__ == "__main__":
    main()
