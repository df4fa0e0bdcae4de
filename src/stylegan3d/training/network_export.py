"""What exports of the tissue network and of the painter have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.plain import Json
from stylegan3d.training.export import NOT_STATED
from stylegan3d.training.run import Run


def rounded(run: Run[Any]) -> Any:
    """The averaged network with weights as they are stored: what is measured is what is written."""
    network = run.average
    network.load_state_dict({k: v.half().float() for k, v in network.state_dict().items()})
    return network


def about(
    run: Run[Any],
    pack: Pack,
    rows: Sequence[int] | np.ndarray,
    *,
    licence: str | None,
    intended_use: str,
    training: Json,
) -> Json:
    """Entries of the card on the data and the training.

    Parameters
    ----------
    run : Run
        The run.
    pack : Pack
        The data set.
    rows : sequence or ndarray of int
        Rows of the data set that it learned from.
    licence : str or None
        Licence of the weights; those of the data by default.
    intended_use : str
        A sentence or two.
    training : dict of str to object
        Further facts of the training.
    """
    table = [pack.table[row] for row in rows]
    sources = Counter((str(r.get("source")), str(r.get("licence") or NOT_STATED)) for r in table)
    return {
        "modality": "T1-weighted MR, brain extracted",
        "intensity": {"outside": 0, "one": "99.5th percentile inside the brain"},
        "training_data": [
            {"source": source, "people": count, "licence": terms}
            for (source, terms), count in sorted(sources.items())
        ],
        "training": {
            "people": len(table),
            **training,
            "steps": run.steps,
            "seed": run.settings.seed,
        },
        "licence": licence or "; ".join(sorted({terms for _, terms in sources})),
        "intended_use": intended_use,
    }


def noted(card: Json, notes: Json | None) -> Json:
    """A card with further entries.

    Raises
    ------
    StyleGAN3DError
        If one of them is an entry that the program writes itself.
    """
    taken = sorted(set(card) & set(notes or {}))
    if taken:
        raise StyleGAN3DError(f"'{taken[0]}' is an entry of the card that the program writes.")
    return card | (notes or {})
