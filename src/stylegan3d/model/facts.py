"""Properties of a generator: sizes, grid, frame, supported features."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from torch import nn

from stylegan3d.errors import ModelError
from stylegan3d.geometry.frame import Frame
from stylegan3d.geometry.space import Space
from stylegan3d.model.family import (
    LACKS,
    DrawsTexture,
    HasInverse,
    HasNoiseMaps,
    Shape,
    Synthesis,
)
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.networks.config import Grid
from stylegan3d.networks.leveled import LeveledSynthesis
from stylegan3d.plain import Json


class Facts:
    """Read-only properties of a `Generator`."""

    config: Shape
    space: Space
    card: Json
    mapping: nn.Module
    synthesis: Synthesis
    discriminator: nn.Module | None
    encoder: nn.Module | None
    _reasons: Mapping[str, str]

    @property
    def name(self) -> str:
        """The model's name from its card."""
        return str(self.card.get("name", "unnamed"))

    @property
    def z_dim(self) -> int:
        """Size of the input latent."""
        return self.config.z_dim

    @property
    def w_dim(self) -> int:
        """Size of one row of the intermediate latent."""
        return self.config.w_dim

    @property
    def label_dim(self) -> int:
        """Size of the label of random brains; 0 for a model without labels."""
        if isinstance(self.mapping, LabelledMapping):
            return self.mapping.label_dim
        return self.config.label_dim

    @property
    def num_layers(self) -> int:
        """Rows of w."""
        return self.config.num_layers

    @property
    def rows_read(self) -> int:
        """Number of first rows of w that have an effect; usually all."""
        return int(getattr(self.synthesis, "rows_read", self.num_layers))

    @property
    def image_channels(self) -> int:
        """Channels of a volume."""
        return self.config.image_channels

    @property
    def shape(self) -> Grid:
        """Voxels of a synthesised volume."""
        return self.space.shape

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) voxel indices -> RAS+ millimetres."""
        return self.space.affine

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Millimetres."""
        return self.space.voxel_size

    @property
    def frame(self) -> Frame | None:
        """The frame of a generator whose file does not define one, else None."""
        if "frame" not in self.card.get("space", {}):
            return None
        return Frame("".join(self.space.axcodes), self.space.voxel_size)

    @property
    def frame_note(self) -> str:
        """A warning if the frame is assumed, else empty."""
        if not self.card.get("space", {}).get("assumed"):
            return ""
        return (
            f"'{self.name}' does not say where its voxels lie: the frame {self.frame} (directions "
            "of the array's axes and voxel size in mm, as FreeSurfer conforms scans) is assumed, "
            "so give the right one with --frame if you know better."
        )

    @property
    def levels(self) -> list[Grid]:
        """Grids of the image levels, coarse to fine; index them with `level`."""
        return self.config.image_grids

    @property
    def layer_resolutions(self) -> list[Grid]:
        """The grid that each row of w controls."""
        return self.config.layer_grids

    @property
    def cannot(self) -> dict[str, str]:
        """Unsupported features, with the reason in one sentence each.

        Keys are those of `family.LACKS`: "layers" (rows of w that can be styled one by
        one), "noise" (that changes random brains), "noise_maps" (that a projection can fit),
        "tuning" (to one scan), "score" (of a volume, by a discriminator), "encode" (a volume).
        """
        lacking = {
            "layers": self.num_layers < 2,
            "noise": not self.has_noise,
            "noise_maps": not isinstance(self.synthesis, HasNoiseMaps),
            "tuning": not isinstance(self.synthesis, LeveledSynthesis),
            "score": self.discriminator is None,
            "encode": self.encoder is None,
        }
        return {
            feature: self._reasons.get(feature, LACKS[feature])
            for feature, lacks in lacking.items()
            if lacks or feature in self._reasons
        }

    def can(self, feature: str) -> bool:
        """Whether it has a feature, see `cannot`."""
        return feature not in self.cannot

    def require(self, feature: str) -> None:
        """Raise ModelError with the reason if a feature is not supported, see `cannot`."""
        reason = self.cannot.get(feature)
        if reason is not None:
            raise ModelError(reason)

    @cached_property
    def has_noise(self) -> bool:
        """Whether noise changes random brains; a generator may have learned to ignore it."""
        return "noise" not in self._reasons and bool(getattr(self.synthesis, "has_noise", True))

    @cached_property
    def has_layer_noise(self) -> bool:
        """Whether layer noise changes every brain, including reconstructions.

        A flow's noise does not: it only affects details, which a reconstruction omits.
        """
        return bool(getattr(self.synthesis, "has_layer_noise", False))

    @cached_property
    def has_own_noise(self) -> bool:
        """Whether a projection can find the noise that a scan would be drawn from."""
        return bool(getattr(self.synthesis, "has_own_noise", False))

    @cached_property
    def draws_texture(self) -> bool:
        """Whether noise adds texture to every brain, see `family.DrawsTexture`."""
        return isinstance(self.synthesis, DrawsTexture) and self.synthesis.draws_texture

    @property
    def can_invert(self) -> bool:
        """Whether `invert` is supported."""
        inner = getattr(self.mapping, "mapping", self.mapping)  # without later labels
        return isinstance(inner, HasInverse)
