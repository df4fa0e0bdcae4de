"""`Generator`: the one thing callers hold.

It joins the mapping and synthesis networks with what a picture needs to be trusted: where its
voxels lie, what its intensities mean, what it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stylegan3d.checkpoints.official_card import frame_entry
from stylegan3d.checkpoints.places import DIRECTIONS, TEMPLATE
from stylegan3d.errors import ModelError
from stylegan3d.geometry.frame import Frame
from stylegan3d.geometry.intensity import to_display
from stylegan3d.geometry.space import Space
from stylegan3d.model.components import pca_directions
from stylegan3d.model.facts import Facts
from stylegan3d.model.family import HasInverse, Shape, Synthesis
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.model.registry import STYLEGAN
from stylegan3d.model.tuning import network_of, rows_of, tunable_shapes, tuned
from stylegan3d.networks.noise import Noise
from stylegan3d.recipe.delta import Delta
from stylegan3d.recipe.direction_file import load_directions
from stylegan3d.recipe.directions import Directions
from stylegan3d.recipe.label_schema import encode_labels


class Generator(Facts):
    """A trained generator of any family.

    Attributes
    ----------
    family : str
        Name of its family, see `registry.py`.
    config : Shape
        Sizes of its latents and images.
    space : Space
        The grid of a synthesised volume; `shape`, `affine`, `voxel_size` are its parts.
    w_avg : Tensor, shape (w_dim,)
        Mean of w, towards which truncation pulls.
    card : dict of str to object or None
        The model's card: name, training data, licence, intended use, measured quality.
    hash : str
        SHA-256 of the weights; latent files and recipes name it.
    labels_hash : str
        SHA-256 of what the model learned of labels after its training, which changes no brain that
        is drawn without a label (`training.labels`); else empty.
    deviations, components : Tensor, shape (w_dim,), or None
        And [K, w_dim], how random brains spread, where the family says it (see `family.Parts`);
        else None.
    dtype : torch.dtype
        Precision of the feature maps during synthesis (images are always float32).
    encoder : nn.Module or None
        Volume [N, 1, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim], or None.
    folder : Path or None
        The model folder it came from; None for one of another program, or made in memory.
    path : Path or None
        What `load` opens it from again, a folder or a file; None for one made in memory.
    """

    def __init__(
        self,
        mapping: nn.Module,
        synthesis: nn.Module,
        w_avg: Tensor,
        space: Space,
        *,
        card: dict[str, Any] | None = None,
        hash: str = "",
        discriminator: nn.Module | None = None,
        encoder: nn.Module | None = None,
        folder: Path | None = None,
        path: Path | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        family: str = STYLEGAN,
        config: Shape | None = None,
        cannot: Mapping[str, str] | None = None,
        deviations: Tensor | None = None,
        components: Tensor | None = None,
        labels_hash: str = "",
    ) -> None:
        self.config: Shape = config or synthesis.config  # type: ignore[assignment]
        if tuple(space.shape) != self.config.image_grids[-1]:
            raise ModelError(
                f"The model's card says its volumes have {space.shape} voxels, but its network "
                f"makes {self.config.image_grids[-1]}; the card is wrong."
            )
        self.device = torch.device(device)
        self.dtype = dtype
        self.mapping = mapping.to(self.device).eval().requires_grad_(False)
        self.synthesis: Synthesis = synthesis.to(self.device).eval().requires_grad_(False)
        self.discriminator = discriminator and discriminator.to(self.device).eval()
        self.encoder = encoder and encoder.to(self.device).eval().requires_grad_(False)
        self.w_avg = w_avg.to(self.device, torch.float32)
        self.deviations, self.components = (
            values if values is None else values.to(self.device, torch.float32)
            for values in (deviations, components)
        )
        self.space = space
        self.card = card or {}
        self.hash = hash
        self.labels_hash = labels_hash
        self.folder = folder
        self.path = path or folder
        self.family = family
        self._reasons = dict(cannot or {})

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"<Generator {self.name} {size} on {self.device}, {str(self.dtype)[6:]}>"

    def with_space(self, space: Space) -> Generator:
        """The same networks with their voxels in another place.

        Parameters
        ----------
        space : Space
            A grid of this generator's shape, such as `Frame("LIA", (2, 2, 2)).space(shape)`.

        Returns
        -------
        Generator
            A generator that shares everything but the space and the card's entry for it.

        Raises
        ------
        ModelError
            If the shape is another one.
        """
        if tuple(space.shape) != self.shape:
            raise ModelError(
                f"A space of {space.shape} voxels does not fit this generator's {self.shape}."
            )
        axes = "".join(space.axcodes)
        known = {"affine": space.affine.tolist(), "axes": axes}
        if self.frame is not None:
            known = frame_entry(Frame(axes, space.voxel_size), self.shape, assumed=False) | known
        card = {**self.card, "space": {**self.card.get("space", {}), **known}}
        moved = self._sharing(self.synthesis, space, card)
        return moved

    def tuned(self, delta: Delta) -> Generator:
        """The generator with what a projection changed in it for one scan; see `tuning.py`.

        It keeps its hash and name: latents, directions and labels stay those of the model.

        Raises
        ------
        LatentError
            If the delta is not one of this generator.
        """
        delta.check(self)
        return self._sharing(tuned(network_of(self), delta), self.space, self.card)

    def tunable_shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors that a projection may change, by name; none where it cannot be tuned."""
        return tunable_shapes(self.synthesis)

    def rows_of(self, name: str) -> range:
        """The rows of w that the layer of a tensor reads, see `tuning.rows_of`."""
        return rows_of(name, network_of(self).config)

    def _sharing(self, synthesis: Synthesis, space: Space, card: dict) -> Generator:
        """A generator with other parts here and everything else in common."""
        assert isinstance(synthesis, nn.Module)
        other = Generator(
            self.mapping,
            synthesis,
            self.w_avg,
            space,
            card=card,
            hash=self.hash,
            discriminator=self.discriminator,
            encoder=self.encoder,
            folder=self.folder,
            path=self.path,
            device=self.device,
            dtype=self.dtype,
            family=self.family,
            config=self.config,
            cannot=self._reasons,
            deviations=self.deviations,
            components=self.components,
            labels_hash=self.labels_hash,
        )
        # What was computed of the networks stays good; directions take seconds to find.
        for name in ("has_noise", "has_layer_noise", "template", "directions"):
            if name in vars(self):
                vars(other)[name] = vars(self)[name]
        return other

    @torch.no_grad()
    def map(
        self,
        z: Tensor,
        label: Tensor | None = None,
        truncation: float = 1.0,
        truncation_layers: int | None = None,
    ) -> Tensor:
        """Latent z to intermediate latent w.

        Parameters
        ----------
        z : Tensor, shape (N, z_dim)
        label : Tensor, shape (N or 1, label_dim), or None
            Label of a conditional generator, see `recipe.label_schema`; without it all labels stay
            open. One of the original 3D-StyleGAN does not say what its labels mean; without a label
            it gets zeros, as its own program gives it.
        truncation : float
            Psi; w = w_avg + psi (w - w_avg) (Karras et al. 2019, appendix B). 1 changes nothing, 0
            gives the average brain. With labels learned after the training w_avg is the mean for
            the label, so that who is drawn for an age is not pulled away from it.
        truncation_layers : int or None
            Truncate the first so many rows only; None for all.

        Returns
        -------
        Tensor, shape (N, num_layers, w_dim)
        """
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ModelError(
                f"The latent z has shape {tuple(z.shape)}, but this generator takes (n, "
                f"{self.z_dim})."
            )
        z, label = z.to(self.device, torch.float32), self._label(label, len(z))
        learned = isinstance(self.mapping, LabelledMapping)
        w = self.mapping(z, None if learned else label)
        rows = w[:, None].expand(-1, self.num_layers, -1).clone()
        cutoff = self.num_layers if truncation_layers is None else truncation_layers
        if truncation != 1.0:
            rows[:, :cutoff] = self.w_avg + truncation * (rows[:, :cutoff] - self.w_avg)
        if isinstance(self.mapping, LabelledMapping) and label is not None:
            rows = self.mapping.moved(rows, label)
        return rows

    @torch.no_grad()
    def invert(self, w: Tensor) -> Tensor:
        """The z that lead to latents, nearly: of random brains, or of scans found in w.

        Between two z there are whole brains where there are double exposures between two w.

        Parameters
        ----------
        w : Tensor, shape (N, 1, w_dim)

        Returns
        -------
        Tensor, shape (N, z_dim)

        Raises
        ------
        ModelError
            If the generator's family has no way back.
        """
        if not self.can_invert:
            raise ModelError(
                f"{self.name} cannot recover the random numbers of a brain: only latent "
                "diffusion models can."
            )
        return cast("HasInverse", self.mapping).invert(w[:, 0].to(self.device, torch.float32))

    def synthesize(self, w: Tensor, noise: Noise = "fixed", level: int = -1) -> Tensor:
        """Intermediate latent to volume; differentiable in w.

        Parameters
        ----------
        w : Tensor, shape (N, num_layers, w_dim)
        noise : Noise
            "fixed" (the maps stored with the model), "none", or a seed. Of a scan's latent "none",
            where noise `draws_texture` over every brain.
        level : int
            Which of `levels`; -1 is full resolution.

        Returns
        -------
        Tensor, shape (N, C, X, Y, Z), float32
            About in [-1, 1].
        """
        if w.ndim != 3 or tuple(w.shape[1:]) != (self.num_layers, self.w_dim):
            raise ModelError(
                f"The latent w has shape {tuple(w.shape)}, but this generator takes (n, "
                f"{self.num_layers}, {self.w_dim})."
            )
        return self.synthesis(w.to(self.device, torch.float32), noise, level, self.dtype)

    def score(self, volume: Tensor, label: Tensor | None = None) -> Tensor:
        """Discriminator's logits [N] for volumes [N, C, X, Y, Z] in [-1, 1]; high means real.

        The volumes are compared in groups (minibatch standard deviation) of
        `discriminator.config.mbstd_group`, or of the largest divisor of N below it: a volume's
        score depends a little on its company.
        """
        self.require("score")
        assert self.discriminator is not None
        # Labels that were learned afterwards tell a discriminator nothing.
        label = self._label(label, len(volume)) if self.config.label_dim else None
        return self.discriminator(volume.to(self.device, torch.float32), label)

    def _label(self, label: Tensor | None, count: int) -> Tensor | None:
        """[count, label_dim], open where none is given; None for an unconditional generator."""
        size = self.label_dim
        if label is None and self.config.label_dim:
            # A network that names no labels, such as an official one, takes zeros for none.
            schema = self.card.get("labels")
            label = encode_labels(schema) if schema else torch.zeros(1, size)
        if label is None:
            return None
        if label.ndim != 2 or label.shape[1] != size or len(label) not in (1, count):
            raise ModelError(
                f"The label has shape {tuple(label.shape)}, but this generator takes "
                + (f"({count}, {size})." if size else "none: it was trained without labels.")
            )
        return label.to(self.device, torch.float32).expand(count, -1)

    @cached_property
    def template(self) -> np.ndarray:
        """(X, Y, Z) float32 in [0, 1]: the mean training brain, or else the average synthesis."""
        if self.folder is not None and (self.folder / TEMPLATE).is_file():
            from stylegan3d.scans.target import read_template

            return read_template(self.folder / TEMPLATE, self.space)
        w = self.w_avg.expand(1, self.num_layers, -1)
        with torch.no_grad():
            return to_display(self.synthesize(w, noise="none"))[0]

    @cached_property
    def directions(self) -> Directions:
        """Edit directions shipped with the model, or the principal components of w."""
        if self.folder is not None and (self.folder / DIRECTIONS).is_file():
            return load_directions(self.folder / DIRECTIONS, self)
        return pca_directions(self)
