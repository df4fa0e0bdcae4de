"""How far the flows of a cascade are: their random brains under the judge of tissue shape.

    python benchmarks/cascade.py MODEL PACK LAYOUT_RUN [--fine FINE_RUN] [--brains 60] [--steps 6]
        [--people 3] [--montage PNG] [--cache FOLDER]

Without --fine the layout is judged alone: its images at half resolution, real ones and those of the
model as it is are all continued to full resolution by the same filter. With it the finished brains
are judged, and held-out people are made again from their own noise. Prints one JSON object: how
often brains are told from training and from held-out people (0.5 is chance), beside people told
from people and the model as it is, and the shifts of the measures. "known of people" is the
correlation of what the last level of the coarse image adds with what the levels before it lack of a
person: more for training than for held-out people where it has learned them by heart.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _shape import packed, shape_key, soft, softened, told

from stylegan3d.dataset.pack import Pack, load_pack
from stylegan3d.evaluation.store import Store
from stylegan3d.geometry.intensity import unit
from stylegan3d.geometry.montage import draw_montage
from stylegan3d.measures.similarity import similarity
from stylegan3d.measures.tissue_shape import tissue_shapes
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.model.sampling import RandomBrains
from stylegan3d.networks.band_unet import places_on
from stylegan3d.networks.cascade import UNIT_NOISE, Cascade
from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.recipe.drawing import seed_latents
from stylegan3d.training.cascade import CascadeRecipe, CascadeRun
from stylegan3d.training.cascade_data import person
from stylegan3d.training.flow_export import details_spread
from stylegan3d.training.run import load_run

DTYPE = torch.bfloat16
# People asked for what is known of them, and the brightness of the mean brain that is compared.
KNOWN, INSIDE = 24, 0.2


def cascade_of(generator: Generator, layout: CascadeRun, fine: CascadeRun | None) -> Cascade:
    """The flows of runs as they are now, without an export."""
    config = anatomy_network(generator).config
    x, y, z = (n // 2 for n in generator.shape)
    widths = [run.recipe.settings.channels for run in (layout, fine or layout)]
    cascade = Cascade(widths[0], widths[1], (x, y, z), config.fine_taps)
    cascade.layout.load_state_dict(layout.average.state_dict())
    if fine is not None:
        cascade.fine.load_state_dict(fine.average.state_dict())
    cascade.spread.fill_(details_spread(generator))
    return cascade.requires_grad_(False)


class Drawing:
    """Random brains of a cascade, uint8 as in a pack."""

    def __init__(self, generator: Generator, cascade: Cascade, whole: bool, steps: int) -> None:
        self.network, self.cascade = anatomy_network(generator), cascade
        self.generator, self.whole, self.steps = generator, whole, steps

    def brain(self, seed: int) -> np.ndarray:
        """The random brain of a seed."""
        w = seed_latents(self.generator, [seed])
        details, coarse = self.network.detail_weights(w), self.network.coarse(w)
        shape = (1, 1, *self.generator.shape)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        if self.whole:
            return packed(self.cascade(coarse, details, noise, self.steps, DTYPE))
        layout, seen = self.cascade.layout, haar(coarse)
        x = haar(haar(self.cascade.styled(details, noise))[:, :1]) * UNIT_NOISE**2
        places = places_on(seen.shape[2:], seen.device)
        x = layout.follow(x, seen, places, self.steps, dtype=DTYPE)
        return soft(inverse_haar(layout.added(x, seen)), self.cascade.taps)

    def as_judged(self, volume: np.ndarray) -> np.ndarray:
        """A person or a brain of the model as it is, as far as is judged."""
        return volume if self.whole else softened(volume, self.cascade.taps)


def rows_of(drawing: Drawing, volumes: Any, pack: Pack) -> np.ndarray:
    """Tissue shape of people or brains of the model as it is, as far as is judged."""
    return tissue_shapes([drawing.as_judged(volume) for volume in volumes], pack.space)


def own_noise(drawing: Drawing, pack: Pack, count: int, steps: int) -> list[dict[str, float]]:
    """Held-out people made again from their own noise."""
    found = []
    for row in pack.indices("validation")[:count]:
        image = person(pack, 2 * int(row))
        assert drawing.generator.encoder is not None
        coarse = drawing.network.coarse(drawing.generator.encoder(image))
        began = time.monotonic()
        noise = drawing.cascade.own_noise(image, coarse, steps)
        seconds = time.monotonic() - began
        again = drawing.cascade.drawn(coarse, noise, steps)
        inside = unit(pack.volumes[row]) > 0.05
        alike = similarity(packed(again) / 255, unit(pack.volumes[row]), inside)
        figures = {key: alike[key] for key in ("ssim", "psnr")}
        figures |= {"seconds": seconds, "noise_sd": float(noise.std())}
        found.append({key: round(float(value), 4) for key, value in figures.items()})
    return found


def known_of(drawing: Drawing, pack: Pack, rows: np.ndarray) -> float:
    """How much of people the last level of their coarse images knows, see above."""
    inside = haar(torch.from_numpy(pack.template)[None, None])[:, :1] > INSIDE
    found = []
    for row in rows[:KNOWN]:
        image = person(pack, 2 * int(row))
        assert drawing.generator.encoder is not None
        w = drawing.generator.encoder(image)
        before = drawing.network.coarse(w, without=2)
        added, lacking = drawing.network.coarse(w) - before, haar(image)[:, :1] - before
        pair = torch.stack([added[inside], lacking[inside]])
        found.append(float(torch.corrcoef(pair)[0, 1]))
    return round(float(np.mean(found)), 3)


@torch.inference_mode()
def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "pack", "layout"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--fine", type=Path)
    parser.add_argument("--brains", type=int, default=60)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--montage", type=Path)
    parser.add_argument("--cache", type=Path, help="where measures of people are kept")
    wanted = parser.parse_args()
    generator, pack = load(wanted.model, device="cpu"), load_pack(wanted.pack)
    runs = [
        None if folder is None else load_run(CascadeRecipe, folder, torch.device("cpu"))
        for folder in (wanted.layout, wanted.fine)
    ]
    assert runs[0] is not None
    cascade = cascade_of(generator, runs[0], runs[1])
    drawing = Drawing(generator, cascade, runs[1] is not None, wanted.steps)
    brains = [drawing.brain(seed) for seed in range(wanted.brains)]
    made = tissue_shapes(brains, pack.space)
    store = Store(wanted.cache)
    training, held_out, as_it_is = (
        store.array(
            "shape",
            (drawing.whole, *shape_key(name, generator.hash, pack, len(volumes))),
            lambda volumes=volumes: rows_of(drawing, volumes, pack),
        )
        for name, volumes in (
            *((s, [pack.volumes[row] for row in pack.indices(s)]) for s in ("train", "validation")),
            ("as it is", RandomBrains(generator, range(wanted.brains))),
        )
    )
    report: dict[str, Any] = {
        "steps": [run.steps for run in runs if run is not None],
        "brains": wanted.brains,
    }
    report |= told({"cascade": made, "model as it is": as_it_is}, training, held_out)
    report["known of people"] = {
        split: known_of(drawing, pack, pack.indices(split)) for split in ("train", "validation")
    }
    if runs[1] is not None and wanted.people:
        report["own noise"] = own_noise(drawing, pack, wanted.people, 4 * wanted.steps)
    print(json.dumps(report))
    if wanted.montage is not None:
        people = [drawing.as_judged(pack.volumes[row]) for row in pack.indices("validation")[:4]]
        before = [drawing.as_judged(v) for v in RandomBrains(generator, range(4))]
        columns = {"cascade": brains[:4], "as it is": before, "people": people}
        wanted.montage.write_bytes(draw_montage(columns, pack.space))


if __name__ == "__main__":
    main()
