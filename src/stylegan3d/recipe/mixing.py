"""Style-mixing presets, and matrices of mixes, as plain recipes.

Karras et al. (2019), "A Style-Based Generator Architecture for Generative Adversarial Networks",
arXiv:1812.04948, figure 3: each cell takes the layers of some sizes from its column's brain and all
others from its row's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stylegan3d.recipe.recipe import Mix, Recipe, Source


@dataclass(frozen=True)
class Preset:
    """A preset for mixing brains A and B.

    Attributes
    ----------
    name, meaning : str
        Title and description.
    shares : tuple of float
        Share of B in the coarse, middle and fine layers, 0 to 1.
    """

    name: str
    meaning: str
    shares: tuple[float, float, float]


PRESETS = (
    Preset("Shape of A, folds of B", "B's middle and fine structures in A's head.", (0, 1, 1)),
    Preset("Ventricles and lobes of B", "Only the middle-sized structures are B's.", (0, 1, 0)),
    Preset("Texture of B", "Only thin folds, contrast and texture are B's.", (0, 0, 1)),
    Preset("Head of B", "Only size and shape of the head are B's.", (1, 0, 0)),
    Preset("Half and half", "All layers halfway between A and B.", (0.5, 0.5, 0.5)),
    Preset("All of B", "Nothing of A is left.", (1, 1, 1)),
)


def strengths(shares: Sequence[float], groups: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """One strength per layer from one share per group, 0 to 1.

    Parameters
    ----------
    shares : sequence of float
        Share of B, one per group.
    groups : sequence of sequence of int
        The layers of each group; together all layers, each once.
    """
    by_layer = {
        layer: float(share)
        for share, layers in zip(shares, groups, strict=True)
        for layer in layers
    }
    return tuple(by_layer[layer] for layer in range(len(by_layer)))


def solo(group: int, groups: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """Strengths that take one group from B, and nothing else."""
    return strengths([float(k == group) for k in range(len(groups))], groups)


def mixing_matrix(
    base: Recipe, rows: Sequence[Source], columns: Sequence[Source], strength: Sequence[float]
) -> list[list[Recipe]]:
    """Recipes of all mixes of the rows' brains with the columns'.

    Parameters
    ----------
    base : Recipe
        Gives truncation, edits, noise, channel and label.
    rows, columns : sequence of Source
        Sources A and B.
    strength : sequence of float
        How much of B each layer takes, 0 to 1.

    Returns
    -------
    list of list of Recipe
        One list for each row. Where row and column are the same brain, it is that brain unmixed.
    """
    mixes = [Mix(column, tuple(strength)) for column in columns]
    return [
        [base.replace(source=row, mix=None if mix.source == row else mix) for mix in mixes]
        for row in rows
    ]


def around(
    source: Source, count: int, others: Sequence[Source] = (), avoid: Sequence[Source] = ()
) -> list[Source]:
    """`count` different sources: `source`, then `others`, then the next seeds, without `avoid`."""
    found = [source, *(other for other in dict.fromkeys(others) if other not in avoid)]
    found = list(dict.fromkeys(found))[:count]
    seed = source.seed if source.seed is not None else 0
    while len(found) < count:
        seed = (seed + 1) % 2**31
        following = Source("seed", seed)
        if following not in found and following not in avoid:
            found.append(following)
    return found
