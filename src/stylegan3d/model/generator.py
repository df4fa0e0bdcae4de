"""`Generator`: mapping and synthesis networks with their grid and model card.

Also its random brains, in the format of a dataset.

Load a trained generator: a model folder, or a file of the original 3D-StyleGAN.

Convert a network of the original 3D-StyleGAN to a model folder.

The folder opens faster, describes the network in its card, and contains no executable code.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from jinja2 import UndefinedError
from torch import Tensor, nn

from stylegan3d.base import Doubt, Json, ModelError, StyleGAN3DError
from stylegan3d.checkpoints.folder import (
    UNFINISHED,
    ModelFiles,
    check_card,
    check_target,
    read_folder,
    write_folder,
)
from stylegan3d.checkpoints.official import frame_entry, is_official, read_official
from stylegan3d.devices import choose_device, choose_dtype
from stylegan3d.geometry.space import (
    Frame,
    Shown,
    Space,
    as_packed,
    checked_space,
    to_display,
    unit,
)
from stylegan3d.model.card import card_text
from stylegan3d.model.family import (
    LACKS,
    STYLEGAN,
    DrawsTexture,
    HasInverse,
    HasNoiseMaps,
    HasSynthesis,
    MixesEvenly,
    Parts,
    Synthesis,
    family_of,
)
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.model.random_latents import pca_directions
from stylegan3d.networks.config import GeneratorConfig, Grid
from stylegan3d.networks.discriminator import Discriminator
from stylegan3d.networks.memo import Maps, Noise
from stylegan3d.networks.synthesis import LeveledSynthesis
from stylegan3d.recipe.directions import Directions
from stylegan3d.recipe.latents import NOISE, OPENED, Delta, load_directions, mix
from stylegan3d.recipe.model import Label, check_labels, encode_labels, seed_latents
from stylegan3d.recipe.recipe import Recipe, Truncation
from stylegan3d.storage.checked import answering
from stylegan3d.storage.files import atomic_write_text, reason
from stylegan3d.storage.places import DIRECTIONS, TEMPLATE, bundled_model_path, bundled_models


class Generator(Shown):
    """A trained generator of any family.

    Attributes
    ----------
    family : str
        Name of its family, see `model.family`.
    config : Shape
        Sizes of its latents and images.
    z_dim, w_dim : int
        Size of the input latent, and of one row of the intermediate latent.
    num_layers, image_channels : int
        Rows of w, and channels of a volume.
    space : Space
        The grid of a synthesised volume; also as `shape`, `affine`, `voxel_size`.
    w_avg : Tensor, shape (w_dim,)
        Mean of w, towards which truncation moves.
    card : dict of str to object or None
        The model's card: name, training data, licence, intended use, measured quality.
    hash : str
        SHA-256 of the weights; latent files and recipes refer to it.
    labels_hash : str
        SHA-256 of labels learned after training (`training.labels`), which do not affect brains
        without a label; else empty.
    deviations, components : Tensor or None
        [w_dim] and [K, w_dim]: standard deviations and principal directions of w, if given by the
        family (see `family.Parts`).
    dtype : torch.dtype
        Precision of the feature maps during synthesis (images are always float32).
    encoder : nn.Module or None
        Volume [N, 1, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim], or None.
    folder : Path or None
        The model folder; None for a file of another program, or one made in memory.
    path : Path or None
        Folder or file from which `load` can open it again; None for one made in memory.
    """

    def __init__(
        self,
        parts: Parts,
        space: Space,
        *,
        card: Json | None = None,
        hash: str = "",
        labels_hash: str = "",
        folder: Path | None = None,
        path: Path | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        family: str = STYLEGAN,
    ) -> None:
        self.config = parts.config
        if tuple(space.shape) != self.config.image_grids[-1]:
            raise ModelError(
                f"The model's card says its volumes have {space.shape} voxels, but its network "
                f"makes {self.config.image_grids[-1]}; the card is wrong."
            )
        self.z_dim, self.w_dim = self.config.z_dim, self.config.w_dim
        self.num_layers, self.image_channels = self.config.num_layers, self.config.image_channels
        self.device = torch.device(device)
        self.dtype = dtype
        self.mapping = parts.mapping.to(self.device).eval().requires_grad_(False)
        self.synthesis: Synthesis = parts.synthesis.to(self.device).eval().requires_grad_(False)
        self.discriminator = parts.discriminator and parts.discriminator.to(self.device).eval()
        self.encoder = parts.encoder and parts.encoder.to(self.device).eval().requires_grad_(False)
        # A view of a mapped file would keep all of the file in memory.
        self.w_avg = parts.w_avg.to(self.device, torch.float32, copy=True)
        self.deviations, self.components = (
            values if values is None else values.to(self.device, torch.float32)
            for values in (parts.deviations, parts.components)
        )
        self.space = space
        self.card = card or {}
        self.hash = hash
        self.labels_hash = labels_hash
        self.folder = folder and folder.absolute()
        self.path = path or folder
        self.family = family
        self._reasons = dict(parts.cannot)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return f"<Generator {self.name} {size} on {self.device}, {str(self.dtype)[6:]}>"

    @property
    def lines(self) -> list[str]:
        """What it is and can do, each as "name: text"."""
        grid, mm = (" x ".join(f"{v:g}" for v in of) for of in (self.shape, self.voxel_size))
        return [
            f"Model: {self.name} ({self.family}), sha256 {self.hash}",
            f"Grid: {grid} voxels of {mm} mm, axes {''.join(self.space.axcodes)}",
            f"Latents: {self.num_layers} layers of {self.w_dim}",
            f"Labels: {', '.join(e['name'] for e in self.card.get('labels') or ()) or 'none'}",
            f"Directions: {', '.join(self.directions.names)}",
            f"Can: {', '.join(filter(self.can, LACKS)) or 'generate'}",
            *(f"Cannot: {reason}" for reason in self.cannot.values()),
            f"Device: {self.device}, {str(self.dtype)[6:]}",
        ]

    def to(self, device: torch.device | str) -> Generator:
        """Move it to another device, as torch's modules are moved; returns itself.

        Raises
        ------
        ModelError
            If this machine has no such device.
        """
        self.device = choose_device(str(device))
        for part in (self.mapping, self.synthesis, self.discriminator, self.encoder):
            if isinstance(part, nn.Module):
                part.to(self.device)
        for name in ("w_avg", "deviations", "components"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name).to(self.device))
        return self

    @property
    def name(self) -> str:
        """The model's name from its card."""
        return str(self.card.get("name", "unnamed"))

    @property
    def label_dim(self) -> int:
        """Size of the label of random brains; 0 for a model without labels."""
        if isinstance(self.mapping, LabelledMapping):
            return self.mapping.label_dim
        return self.config.label_dim

    @property
    def rows_read(self) -> int:
        """Number of first rows of w that have an effect; usually all."""
        return int(getattr(self.synthesis, "rows_read", self.num_layers))

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
    def frame_doubt(self) -> Doubt | None:
        """A doubt if the frame is assumed."""
        if not self.card.get("space", {}).get("assumed"):
            return None
        text = (
            f"'{self.name}' does not say where its voxels lie: the frame {self.frame} (directions "
            "of the array's axes and voxel size in mm, as FreeSurfer conforms scans) is assumed."
        )
        return Doubt("model-axes", "ask", text, {"frame": str(self.frame)})

    @property
    def doubts(self) -> list[Doubt]:
        """Whether the frame is assumed, and whether the model was exported to the end."""
        text = (
            f"The export of '{self.name}' was cut off, so it is not calibrated and may lack "
            "labels: train again with --resume and --export, which completes it."
        )
        cut_off = Doubt("unfinished", "ask", text) if UNFINISHED in self.card else None
        return [doubt for doubt in (self.frame_doubt, cut_off) if doubt is not None]

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
        if feature not in LACKS:
            raise ModelError(f"There is no feature {feature!r}: they are {', '.join(LACKS)}.")
        return feature not in self.cannot

    def require(self, feature: str) -> None:
        """Raise ModelError with the reason if a feature is not supported, see `cannot`."""
        if not self.can(feature):
            raise ModelError(self.cannot[feature])

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

    @answering
    def with_space(self, space: Space) -> Generator:
        """The same networks with another affine.

        Parameters
        ----------
        space : Space
            A grid of this generator's shape, such as `Frame("LIA", (2, 2, 2)).space(shape)`.

        Returns
        -------
        Generator
            Shares everything except the space and its entry in the card.

        Raises
        ------
        ModelError
            If the shape differs.
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
        return self._sharing(self.synthesis, space, card)

    @answering
    def tuned(self, delta: Delta) -> Generator:
        """The generator with the tuning of a projection applied; all other tensors are shared.

        Hash and name stay the same: latents, directions and labels remain valid.

        Raises
        ------
        LatentError
            If the delta belongs to another generator.
        """
        delta.check(self)
        network = network_of(self)
        state = tunable(network)
        changed = {
            name: state[name].detach() + torch.from_numpy(values.astype(np.float32)).to(state[name])
            for name, values in delta.tensors.items()
        }
        return self._sharing(with_state(network, changed), self.space, self.card)

    def tunable_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that tuning may change, by name; empty if it cannot be tuned."""
        if not isinstance(self.synthesis, LeveledSynthesis):
            return {}
        return {k: tuple(v.shape) for k, v in tunable(self.synthesis).items()}

    def rows_of(self, name: str) -> range:
        """The rows of w that control a tensor's layer, see `rows_of`."""
        return rows_of(name, network_of(self).config)

    def _sharing(self, synthesis: Synthesis, space: Space, card: Json) -> Generator:
        """A generator that shares everything except these parts."""
        other = copy.copy(self)
        other.synthesis, other.space, other.card = synthesis, space, card
        # Other cached properties stay valid; computing directions takes seconds.
        for name in ("has_own_noise", "draws_texture"):
            vars(other).pop(name, None)
        return other

    @answering
    def map(
        self,
        z: Tensor,
        label: Tensor | Mapping[str, float | str] | None = None,
        truncation: float = 1.0,
        truncation_layers: int | None = None,
        **labels: Any,
    ) -> Tensor:
        """Latent z to intermediate latent w; differentiable where z requires gradients.

        Parameters
        ----------
        z : Tensor, shape (N, z_dim)
        label : Tensor, shape (N or 1, label_dim), mapping or None
            Label of a conditional generator, as numbers or by names, see `recipe.model`; None
            samples unconditionally. The original 3D-StyleGAN's labels are unnamed, and None means
            zeros, as in its own code.
        truncation : float
            Psi; w = w_avg + psi (w - w_avg) (Karras et al. 2019, appendix B). 1 changes nothing, 0
            gives the average brain. With labels learned after training, w_avg is the mean for the
            label, so truncation does not change a requested age. Values outside 0 to 1.5
            raise a warning.
        truncation_layers : int or None
            Number of first rows to truncate; None for all.
        labels : object
            Labels by name in place of `label`: ``G.map(z, age=75, sex="F")``. Values beyond
            those of the training subjects raise a warning.

        Returns
        -------
        Tensor, shape (N, num_layers, w_dim)

        Raises
        ------
        ModelError, RecipeError
            If z has another shape or is not finite, or there is no such label or so many rows.
        """
        cutoff = None if truncation_layers is None else int(truncation_layers)
        named: Label | None = None
        if labels and label is not None:
            raise ModelError("Give labels in one way: as a label or by their names.")
        if isinstance(label := labels or label, Mapping):
            named = Label.of(label)
            label = named.encode(self)
        asked = Recipe(truncation=Truncation(float(truncation), cutoff), label=named)
        asked.check(self)
        for doubt in asked.doubts(self):
            warnings.warn(doubt.sentence, stacklevel=3)
        with torch.set_grad_enabled(z.requires_grad and torch.is_grad_enabled()):
            z, label = self._taken("latent z", z, self.z_dim), self._label(label, len(z))
            learned = isinstance(self.mapping, LabelledMapping)
            w = self.mapping(z, None if learned else label)
            rows = w[:, None].expand(-1, self.num_layers, -1).clone()
            if truncation != 1.0:
                rows[:, :cutoff] = self.w_avg + truncation * (rows[:, :cutoff] - self.w_avg)
            if isinstance(self.mapping, LabelledMapping) and label is not None:
                rows = self.mapping.moved(rows, label)
        return rows

    @torch.no_grad()
    def invert(self, w: Tensor) -> Tensor:
        """Approximate z of latents, both of random brains and of projected scans.

        Interpolating in z avoids the blending that interpolating in w may show.

        Parameters
        ----------
        w : Tensor, shape (N, 1, w_dim)

        Returns
        -------
        Tensor, shape (N, z_dim)

        Raises
        ------
        ModelError
            If the generator's family cannot be inverted.
        """
        if not self.can_invert:
            raise ModelError(
                f"{self.name} cannot recover the random numbers of a brain: only latent "
                "diffusion models can."
            )
        rows = self._taken("latent w", w, 1, self.w_dim)
        return cast("HasInverse", self.mapping).invert(rows[:, 0])

    @answering
    @torch.no_grad()
    def mix(
        self, first: Tensor, second: Tensor, strength: float | Sequence[float] | Tensor
    ) -> Tensor:
        """Mix two latents row by row so that the volume changes evenly with the strengths.

        Like `recipe.latents.mix`, unless the synthesis has a better way between its ends.

        Parameters
        ----------
        first, second : Tensor, shape (num_layers, w_dim)
        strength : float, sequence of float or Tensor, shape (num_layers,)
            From 0 (first) to 1 (second), of all rows or of each.

        Returns
        -------
        Tensor, shape (num_layers, w_dim)
        """
        for name, w in (("first", first), ("second", second)):
            if tuple(w.shape) != (self.num_layers, self.w_dim):
                raise ModelError(
                    f"The latent {name} has shape {tuple(w.shape)}, but one brain of this "
                    f"generator has ({self.num_layers}, {self.w_dim})."
                )
        mixed = mix(first, second, strength)
        if isinstance(self.synthesis, MixesEvenly):
            shares = torch.as_tensor(strength).to(mixed).expand(mixed.shape[:1])
            return self.synthesis.evened(mixed, first, second, shares)
        return mixed

    @answering
    def synthesize(self, w: Tensor, noise: Noise | Maps = "fixed", level: int = -1) -> Tensor:
        """Intermediate latent to volume; differentiable in w.

        Parameters
        ----------
        w : Tensor, shape (N, num_layers, w_dim)
        noise : Noise or list of Tensor
            "fixed" (the maps stored with the model), "none", or a seed; or the maps themselves. Use
            "none" for latents of scans if the generator `draws_texture`.
        level : int
            Index of `levels`; -1 is full resolution.

        Returns
        -------
        Tensor, shape (N, C, X, Y, Z), float32
            About in [-1, 1].
        """
        taken = self._taken("latent w", w, self.num_layers, self.w_dim)
        if isinstance(noise, list):
            source = self.synthesis if isinstance(self.synthesis, HasNoiseMaps) else None
            stored = source.noise_maps("fixed") if source else []
            shapes = [tuple(m.shape[1:]) for m in stored if m is not None]
            given = [None if m is None else tuple(np.shape(m)[1:]) for m in noise]
            if [g and w for g, w in zip_longest(given, shapes)] != given or () in given:
                raise ModelError(f"The noise maps are (n, ...) {given}; give {shapes}.")
        return self.synthesis(taken, noise, level, self.dtype)

    def _taken(self, name: str, latent: Tensor, *shape: int) -> Tensor:
        """A latent [n, *shape] where and as the networks take it; ModelError if they cannot."""
        if tuple(latent.shape[1:]) != shape or not len(latent):
            raise ModelError(
                f"The {name} has shape {tuple(latent.shape)}, but this generator takes (n, "
                f"{', '.join(map(str, shape))})."
            )
        if latent.is_complex():
            raise ModelError(f"The {name} is complex: give real numbers.")
        if not bool(latent.isfinite().all()):
            raise ModelError(f"The {name} contains NaN or infinity: give finite numbers.")
        return latent.to(self.device, torch.float32)

    @answering
    def score(self, volume: Tensor, label: Tensor | None = None) -> Tensor:
        """Discriminator's logits [N] for volumes [N, C, X, Y, Z] in [-1, 1]; high means real.

        The minibatch standard deviation is computed in groups of
        `discriminator.config.mbstd_group`, or the largest divisor of N below it, so a score depends
        slightly on the rest of its group. A discriminator that was trained to judge `packed`
        volumes together gives [N / packed], one for each pack of neighbours.

        Raises
        ------
        ModelError
            If there is no discriminator, or N is no multiple of `packed`.
        """
        self.require("score")
        assert isinstance(self.discriminator, Discriminator)
        volume = self._taken("volume", volume, self.config.image_channels, *self.shape)
        packed = self.discriminator.config.packed
        if len(volume) % packed:
            raise ModelError(
                f"This model's discriminator judges {packed} volumes together, not {len(volume)}: "
                "give a multiple."
            )
        # The discriminator does not know labels learned after training.
        label = self._label(label, len(volume)) if self.config.label_dim else None
        scores: Tensor = self.discriminator(volume, label)
        return scores.reshape(len(volume) // packed, -1).mean(dim=1)

    def _label(self, label: Tensor | None, count: int) -> Tensor | None:
        """[count, label_dim], averages where none is given; None for an unconditional generator."""
        size = self.label_dim
        if label is None and self.config.label_dim:
            # A network without named labels, such as an official one, takes zeros for None.
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

    def needed_folder(self) -> Path:
        """Its folder; ModelError if it is a file of another program, which cannot be changed."""
        if self.folder is None:
            raise ModelError(
                f"The model '{self.name}' is a file of another program: make it a folder with "
                "`stylegan3d model convert` first."
            )
        return self.folder

    @cached_property
    def template(self) -> np.ndarray:
        """(X, Y, Z) float32 in [0, 1]: the mean training brain, or else the average synthesis."""
        if self.folder is not None and (self.folder / TEMPLATE).is_file():
            from stylegan3d.scans.alignment import read_template

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


def network_of(generator: HasSynthesis) -> LeveledSynthesis:
    """The synthesis network of a generator that can be tuned.

    Raises
    ------
    ModelError
        If the generator's family has no such network.
    """
    if not isinstance(generator.synthesis, LeveledSynthesis):
        raise ModelError(LACKS["tuning"])
    return generator.synthesis


def tunable(synthesis: nn.Module) -> dict[str, Tensor]:
    """Tensors that a delta may change: parameters and stored noise maps, by name."""
    noise = {k: v for k, v in synthesis.named_buffers() if k.endswith((NOISE, OPENED))}
    return {**dict(synthesis.named_parameters()), **noise}


def rows_of(name: str, config: GeneratorConfig) -> range:
    """The rows of w that control a tensor's layer; for the whole image those of the last level.

    As in `Level.rows`: a level's first row controls its upsampling layer, the second the other
    layers, and the next its image.
    """
    last = config.num_levels - 1
    parts = name.split(".")
    if parts[0] == "levels":
        level, first = int(parts[1]), parts[2] == "up"
        row = 2 * level - 1 if first else 2 * level
        return range(row, row + 1)
    if parts[0] == "to_rgb":
        row = 2 * int(parts[1]) + 1
        return range(row, row + 1)
    return range(max(2 * last - 1, 0), 2 * last + 2)


M = TypeVar("M", bound=nn.Module)


def with_state(module: M, changed: Mapping[str, Tensor]) -> M:
    """A network with these tensors replaced and all others shared.

    Only the modules that contain a changed tensor are copied.
    """
    new: Any = copy.copy(module)
    new._parameters, new._buffers = dict(module._parameters), dict(module._buffers)
    new._modules = dict(module._modules)
    below: dict[str, dict[str, Tensor]] = {}
    for name, tensor in changed.items():
        first, _, rest = name.partition(".")
        if rest:
            below.setdefault(first, {})[rest] = tensor
        elif first in new._parameters:
            leaf = isinstance(tensor, nn.Parameter)
            new._parameters[first] = tensor if leaf else nn.Parameter(tensor, requires_grad=False)
        else:
            new._buffers[first] = tensor
    for child, inner in below.items():
        original = new._modules[child]
        assert original is not None
        new._modules[child] = with_state(original, inner)
    if hasattr(new, "_prepared"):
        new._prepared = None  # of the other weight
    return new


class RandomBrains:
    """Random brains of a generator by seed, generated on demand.

    Every iteration generates the same brains again, so that a thousand of them need no memory. They
    are generated one at a time in float32 at full resolution and rounded to 8 bits like the real
    ones, for a fair comparison.

    Parameters
    ----------
    seeds : sequence of int
        One brain each (`seed_latents`).
    truncation : float
        Psi; 1 for no truncation.
    noise : Noise or {"seeded"}
        Layer noise; "seeded" uses each brain's own seed, so that no two share their texture.
    """

    def __init__(
        self,
        generator: Generator,
        seeds: Sequence[int],
        *,
        truncation: float = 1.0,
        noise: Noise | Literal["seeded"] = "seeded",
    ) -> None:
        self.generator, self.seeds = generator, list(seeds)
        self.truncation, self.noise = truncation, noise

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[np.ndarray]:
        for seed in self.seeds:
            w = seed_latents(self.generator, [seed], self.truncation)
            noise: Noise = seed if self.noise == "seeded" else self.noise
            yield packed_synthesis(self.generator, w, noise)

    def stack(self) -> np.ndarray:
        """All of them, uint8 [n, X, Y, Z]."""
        return np.stack(list(self))


@torch.no_grad()
def encoded_volumes(generator: Generator, volumes: Iterable[np.ndarray]) -> Tensor:
    """Brains (X, Y, Z), uint8 or in [0, 1], through the encoder: [n, num_layers, w_dim]."""
    assert generator.encoder is not None
    images = (torch.from_numpy(unit(v))[None, None].to(generator.device) * 2 - 1 for v in volumes)
    return torch.cat([generator.encoder(image) for image in images])


@torch.no_grad()
def packed_synthesis(generator: Generator, w: Tensor, noise: Noise = "fixed") -> np.ndarray:
    """The volume of one latent [1, num_layers, w_dim], uint8 (X, Y, Z).

    Raises
    ------
    StyleGAN3DError
        If the volume is not finite.
    """
    with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
        volume = to_display(generator.synthesis(w, noise, -1, torch.float32))[0]
    if not np.isfinite(volume).all():
        raise StyleGAN3DError(
            f"{generator.name} made a volume with NaN or infinity, so it cannot be measured; "
            "train it again."
        )
    return as_packed(volume)


def load(
    path: str | Path | None = None,
    device: str | torch.device = "auto",
    dtype: str = "auto",
    frame: Frame | str | None = None,
) -> Generator:
    """Load a trained generator.

    Parameters
    ----------
    path : path-like or None
        A model folder, the name of a bundled model (`bundled_models`), or a network file (.pkl) of
        the original 3D-StyleGAN, which is read as data without executing anything in it. None loads
        the default bundled model. "hf://ORGANISATION/NAME" is fetched from the Hugging Face Hub.
    device : str or torch.device
        "auto", "cpu", "cuda", "cuda:1", "mps". "auto" uses a GPU if there is one.
    dtype : str
        Precision of the feature maps: "auto" (float32), "float32", "bfloat16", "float16". The
        renderer chooses its own precision for previews.
    frame : Frame, str or None
        Voxel orientation and size of a network of the original 3D-StyleGAN, such as "LIA:2", which
        its file does not contain; None assumes FreeSurfer's (see `space.assumed_frame`), with a
        doubt, `frame_doubt`.

    Raises
    ------
    ModelError
        If the model does not exist or is damaged, the device does not exist, or a frame is given
        for a model that has its own.
    """
    if path is not None and (name := Path(path).as_posix()).startswith(HUB):
        path = _fetched(name.removeprefix(HUB).lstrip("/"))
    place = bundled_model_path() if path is None else Path(path).expanduser()
    if not place.exists() and place.name == str(path) and str(path) in bundled_models():
        place = bundled_model_path(str(path))
    if not place.exists():
        names = ", ".join(bundled_models())
        raise ModelError(
            f"There is no generator at '{place}': give a folder, {names} or hf://ORGANISATION/NAME."
            + ("" if len(bundled_models()) > 1 else " More come with stylegan3d-models.")
        )
    if isinstance(frame, str):
        frame = Frame.parse(frame)
    files = read_official(place) if is_official(place) else read_folder(place)
    generator = _build(files, files.folder or place, choose_device(device), choose_dtype(dtype))
    if frame is None:
        return generator
    if generator.frame is None:
        raise ModelError(
            f"The model '{generator.name}' contains its own orientation and voxel size; "
            "omit --frame."
        )
    return generator.with_space(frame.space(generator.shape))


#: Models of the Hugging Face Hub begin with it, as a path; nothing else makes the program ask a
#: network.
HUB = "hf:/"


def _fetched(name: str) -> str:
    """Folder of a model of the Hugging Face Hub, fetched or fetched earlier."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError(
            "Models of the Hugging Face Hub need another package: pip install "
            "'napari-stylegan3d[hub]'. Or download the folder, and give that."
        ) from None
    try:
        return str(snapshot_download(name))
    except (OSError, ValueError) as error:  # those of huggingface_hub and its connections are these
        raise ModelError(
            f"The Hugging Face Hub does not provide '{name}' ({reason(error)}): check its name and "
            "the network, or download the folder elsewhere and give that."
        ) from error


def _build(files: ModelFiles, path: Path, device: torch.device, dtype: torch.dtype) -> Generator:
    card = files.card
    try:
        check_card(card)
        family = family_of(card)
        family.check(card, files.tensors, files.encoder)
        parts = family.build(card, files.tensors, files.encoder)
        parts.check()
        size = parts.config.label_dim
        if files.labels is not None:
            parts.mapping = _labelled(files, parts)
            size = parts.mapping.label_dim
        check_labels(card.get("labels"), size)
        space = checked_space(card["space"]["shape"], card["space"]["affine"])
    except (KeyError, TypeError, ValueError, RuntimeError, ArithmeticError, IndexError) as error:
        raise ModelError(
            f"The model '{path.name}' is incomplete or its card does not fit its weights "
            f"({reason(error)}); copy the model folder again."
        ) from error
    return Generator(
        parts,
        space,
        card=card,
        hash=files.hash,
        labels_hash=files.labels_hash,
        folder=files.folder,
        path=path,
        device=device,
        dtype=dtype,
        family=family.name,
    )


def _labelled(files: ModelFiles, parts: Parts) -> LabelledMapping:
    """The mapping of a model with labels learned after training."""
    if parts.config.label_dim:
        raise ValueError("it has labels from training and others")
    assert files.labels is not None
    sizes = [len(entry["average"]) for entry in files.card["labels"]]
    return LabelledMapping(parts.mapping, sizes, files.labels, parts.config.w_dim)


def check_page(generator: Generator) -> None:
    """Check that a page can be written from a card, before any work is done.

    Raises
    ------
    ModelError
        If the generator has no card of its own, or it is incomplete.
    """
    generator.needed_folder()  # a file of another program has no card to write in
    try:
        card_text(generator.card)
    except (KeyError, UndefinedError) as error:
        missing = str(error).rpartition("attribute ")[2]
        raise ModelError(
            f"The card of the model '{generator.name}' does not give {missing}, so its page cannot "
            "be written: complete card.json first."
        ) from None
    except (TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(
            f"The card of the model '{generator.name}' is not valid "
            f"({str(error)[:120]}), so its page cannot be written: correct card.json first."
        ) from None


def convert(
    path: str | Path,
    out: str | Path,
    *,
    frame: Frame | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Write a network file (.pkl) as a model folder.

    Parameters
    ----------
    path : path-like
        The network file.
    out : path-like
        The folder to write.
    frame : Frame or None
        Voxel orientation and size; None keeps the assumed one, marked as such in the card.
    dtype : str
        Precision of the stored weights: "float32", "float16" or "bfloat16". With float32 the images
        are identical to the file's, bit for bit; the others halve the folder's size. Mapping
        network and mean w stay in float32, since they are small.
    overwrite : bool
        Replace an existing model.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError, OutputError
        If the file cannot be opened or the folder cannot be written.
    """
    path, out = Path(path).expanduser(), Path(out).expanduser()
    precision = choose_dtype(dtype)
    if not path.exists():
        raise ModelError(f"There is no network file at '{path}'; check the path.")
    if not is_official(path):
        raise ModelError(
            f"'{path.name}' is not a network of the original 3D-StyleGAN; choose its .pkl file."
        )
    check_target(out, overwrite)
    files = read_official(path)
    card = files.card
    if frame is not None:
        a, b, c = card["space"]["shape"]
        card["space"] = frame_entry(frame, (a, b, c), assumed=False)
    stored = {name: _stored(name, value, precision) for name, value in files.tensors.items()}
    write_folder(out, card, stored, overwrite=overwrite)
    atomic_write_text(out / "README.md", card_text(card), overwrite=True)
    return out


def _stored(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    if not name.startswith(("synthesis.", "discriminator.")) or dtype == torch.float32:
        return value
    stored = value.to(dtype)
    if not bool(torch.isfinite(stored).all()):
        raise ModelError(
            f"The weights '{name}' hold numbers beyond the range of {str(dtype)[6:]}; store them "
            "as float32 or bfloat16."
        )
    return stored
