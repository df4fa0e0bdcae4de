"""What must hold of a model's card before networks are built as it says.

A card is text that anybody can change. Sizes in it are compared with the weights that lie beside
it before memory is set aside for networks of these sizes; what the program reads later on, such as
labels, is looked at here, where it can still be refused in one sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor

from stylegan3d.errors import ModelError
from stylegan3d.labels import label_dim
from stylegan3d.recipe_parts import finite_number, is_int
from stylegan3d.space import MAX_VOXELS

#: Of any whole number, list, level or layer in an architecture.
LARGEST_NUMBER, LONGEST_LIST, MOST_LEVELS, MOST_LAYERS = 65_536, 64, 12, 64
#: How much larger the networks may be than the weights: the estimate below is a rough one.
SLACK = 4
LEAST_WEIGHTS = 4_000_000  # of networks this small nothing is asked
#: Filters, of which the first is always there, and what their taps are divided by at the least.
KERNELS, LEAST_SUM = ("resample_kernel", "down_kernel"), 1e-6
#: Factors, by which or by whose roots something is divided.
GAINS = ("upsample_gain", "mapping_lr_multiplier")
#: Entries that are lists of tables, or tables, where a card has them.
LISTS = ("training_data", "directions")
TABLES = ("architecture", "space", "quality", "evaluation", "training", "intensity", "trust")


def check_card(
    card: Mapping[str, Any], tensors: Mapping[str, Tensor], encoder: Mapping[str, Tensor] | None
) -> None:
    """Refuse a card that no network of these weights can have.

    Raises
    ------
    ModelError, ValueError, KeyError
        With the half of a sentence that says why.
    """
    for name in TABLES:
        if card.get(name) is not None and not isinstance(card[name], Mapping):
            raise ValueError(f"the card's {name} is no table")
    for name in LISTS:
        rows = card.get(name)
        if rows is not None and not (
            isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows)
        ):
            raise ValueError(f"the card's {name} is no list of tables")
    sizes = {"generator": tensors, "discriminator": tensors, "encoder": encoder or {}}
    for part, weights in sizes.items():
        plan = card["architecture"].get(part)
        if plan is None and part != "generator":
            continue
        if not isinstance(plan, Mapping):
            raise ValueError(f"the architecture of the {part} is no table")
        _check_numbers(plan)
        if weights or part == "generator":
            _check_size(part, plan, sum(values.numel() for values in weights.values()))
    _check_labels(card.get("labels"), card["architecture"]["generator"].get("label_dim", 0))


def _check_numbers(plan: Mapping[str, Any]) -> None:
    """Every setting is a word, a number of a sensible size, or a list of such numbers."""
    for name, value in plan.items():
        values = value if isinstance(value, (list, tuple)) else [value]
        if len(values) > LONGEST_LIST:
            raise ValueError(f"the architecture's {name} has {len(values)} entries")
        for number in values:
            if value is number and isinstance(number, (str, bool)):
                continue
            if finite_number(number) is None or abs(number) > LARGEST_NUMBER:
                raise ValueError(f"the architecture's {name} is no number of a sensible size")

    for name in KERNELS:
        taps = plan.get(name)
        if taps is None or (name != KERNELS[0] and not taps):
            continue
        if not isinstance(taps, (list, tuple)) or sum(taps) < LEAST_SUM:
            raise ValueError(f"the architecture's {name} is no filter")
    for name in GAINS:
        if plan.get(name, 1.0) < LEAST_SUM:
            raise ValueError(f"the architecture's {name} is not positive")


def _check_size(part: str, plan: Mapping[str, Any], weights: int) -> None:
    """Refuse networks that are far larger than all weights there are."""
    channels, base = _whole(plan, "channels", (1,)), _whole(plan, "base", (1, 1, 1))
    counts = [plan.get(k, 0) for k in ("mapping_layers", "refine_layers", "corrections")]
    if len(channels) > MOST_LEVELS or not all(is_int(n) and 0 <= n <= MOST_LAYERS for n in counts):
        raise ValueError(f"the {part} has more levels or layers than any that was trained")
    finest = math.prod(base) * 8 ** len(channels)
    if finest > 8 * MAX_VOXELS:
        raise ValueError(f"the {part}'s volumes have more voxels than any head scan")
    width = max(1, *(plan.get(k, 1) for k in ("z_dim", "w_dim", "mapping_width")))
    images = sum(plan.get(k, 0) for k in ("image_basis", "detail_basis", "deformation"))
    # Of each level one convolution of 27 weights, of the generator a map of noise or images, too.
    needed = sum(27 * a * b for a, b in pairwise(channels))
    needed += 27 * channels[0] ** 2
    if part == "generator":
        needed += finest // 64 + images * finest // 4096
        needed += max(0, plan.get("mapping_layers", 8) - 2) * min(width, plan.get("w_dim", 1)) ** 2
        needed += width * max(channels)
    if needed > LEAST_WEIGHTS and needed > SLACK * weights:
        raise ValueError(f"the card asks for a {part} far larger than the weights there are")


def _whole(plan: Mapping[str, Any], name: str, default: tuple[int, ...]) -> list[int]:
    values = plan.get(name, default)
    if not isinstance(values, (list, tuple)) or not all(is_int(n) and n > 0 for n in values):
        raise ValueError(f"the architecture's {name} are no positive whole numbers")
    return list(values) or [1]


def _check_labels(schema: Any, size: Any) -> None:
    """The labels are as `stylegan3d.labels` describes them, and as many as the network takes."""
    if schema is None:
        return
    if not isinstance(schema, list) or not all(isinstance(entry, Mapping) for entry in schema):
        raise ValueError("the card's labels are no list of tables")
    for entry in schema:
        name, average = entry.get("name"), entry.get("average")
        if not isinstance(name, str) or not name or not isinstance(entry.get("missing"), bool):
            raise ValueError("a label of the card has no name")
        if not isinstance(average, list) or any(finite_number(x) is None for x in average):
            raise ValueError(f"the label {name} has no average")
        if entry.get("kind") == "number":
            parts = [finite_number(entry.get(k)) for k in ("mean", "sd")]
            if None in parts or not parts[1] or parts[1] < 0:
                raise ValueError(f"the label {name} has no mean and deviation")
            length = 1
        else:
            values = entry.get("values")
            if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
                raise ValueError(f"the label {name} has no values")
            length = len(values)
        if len(average) != length + entry["missing"]:
            raise ValueError(f"the label {name} has an average of another length")
    if label_dim(schema) != size:
        raise ModelError(
            f"The model's card has labels of {label_dim(schema)} numbers, but its network takes "
            f"{size}; the card is wrong."
        )
