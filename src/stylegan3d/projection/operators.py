"""Forward operators: models of scan degradation, used by projection.

With the generator as the prior, one objective covers the restoration tasks: find the latent whose
volume, passed through the operator, is most similar to the data (Bora et al. 2017, arXiv
1703.03208; for brains Marinescu et al. 2020, arXiv 2012.04567). `restoration.restore` then makes
the result consistent with the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.plain import Json
from stylegan3d.projection.contrast import Contrast
from stylegan3d.projection.filters import Blur, KSpace
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.masks import Mask, Masked
from stylegan3d.projection.slices import ThickSlices

__all__ = [
    "Blur",
    "Contrast",
    "Identity",
    "KSpace",
    "Mask",
    "Masked",
    "Operator",
    "ThickSlices",
    "parse",
]


class Identity(Operator):
    """No degradation."""

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        return image

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return data

    def coarse(self, factor: int) -> Operator:  # noqa: D102
        return self

    def describe(self) -> Json:  # noqa: D102
        return {"Name": "identity"}


def parse(text: str) -> Operator:
    """Parse an operator from fields separated by colons.

    identity, mask:FILE, thick:5mm[:S][:gaussian], blur:3mm, kspace:4x[:A][:8%], contrast[:affine]

    "5mm" is the slice thickness or the Gaussian's sigma; a letter (R, A or S, or the opposite) the
    direction across the slices, or the one in which k-space is undersampled; "4x" the acceleration,
    "8%" the fully sampled centre.

    Raises
    ------
    StyleGAN3DError
        If it is not one of these.
    """
    name, *words = text.strip().split(":")
    makers: dict[str, Callable[[list[str]], Operator]] = {
        "identity": _identity,
        "mask": lambda words: Mask(":".join(words)),
        "thick": ThickSlices.parse,
        "blur": Blur.parse,
        "kspace": KSpace.parse,
        "contrast": lambda words: Contrast(gamma=not _chosen(words, ("affine",))),
    }
    try:
        return makers[name.lower()](words)
    except (KeyError, ValueError, IndexError) as error:
        raise StyleGAN3DError(
            f"'{text}' is not an operator; write one such as thick:5mm:S, blur:3mm, kspace:4x:A, "
            "contrast, or mask:FILE."
        ) from error


def _identity(words: list[str]) -> Identity:
    _chosen(words, ())
    return Identity()


def _chosen(words: list[str], known: Sequence[str]) -> str | None:
    """The single field, if it is one of the known; ValueError for others."""
    if not words:
        return None
    if len(words) > 1 or words[0] not in known:
        raise ValueError(words)
    return words[0]
