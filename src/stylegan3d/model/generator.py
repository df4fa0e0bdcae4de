"""`Generator`: the one thing callers hold.

It joins the mapping and synthesis networks with what a picture needs to be trusted: where its
voxels lie, what its intensities mean, what it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stylegan3d.checkpoints.card_checks import check_card, check_labels
from stylegan3d.checkpoints.folder import (
    CARD,
    DIRECTIONS,
    FORMAT,
    TEMPLATE,
    ModelFiles,
    read_folder,
)
from stylegan3d.checkpoints.official import is_official, read_official
from stylegan3d.checkpoints.official_card import frame_entry
from stylegan3d.devices import choose_device, choose_dtype
from stylegan3d.directions.directions import Directions, load_directions, pca_directions
from stylegan3d.errors import ModelError
from stylegan3d.geometry.frame import Frame
from stylegan3d.geometry.space import Space, checked_space
from stylegan3d.model.families.stylegan import style_network
from stylegan3d.model.family import (
    LACKS,
    DrawsTexture,
    HasInverse,
    HasNoiseMaps,
    Parts,
    Shape,
    Synthesis,
)
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.model.labels import encode_labels
from stylegan3d.model.registry import STYLEGAN, family_of
from stylegan3d.model.tuning import Delta
from stylegan3d.networks.config import GeneratorConfig, Grid
from stylegan3d.networks.mapping import MappingNetwork
from stylegan3d.networks.synthesis import Noise, SynthesisNetwork

BUNDLED = "brain-t1-2mm"
# Of a displayed volume; see `to_display`.
BRIGHTEST = 1.5


class Generator:
    """A trained generator of any family, a 3D StyleGAN if nothing else is said.

    Attributes
    ----------
    family : name of its family, see `families.py`.
    config : sizes of its latents and images.
    space : the grid of a synthesised volume; `shape`, `affine`, `voxel_size` are its parts.
    w_avg : [w_dim] mean of w, towards which truncation pulls.
    card : the model's card: name, training data, licence, intended use, measured quality.
    hash : SHA-256 of the weights; latent files and recipes name it.
    labels_hash : SHA-256 of what the model learned of labels after its training (`labelling.py`),
        which changes no brain that is drawn without a label; else empty.
    deviations, components : [w_dim] and [K, w_dim], how random brains spread, where the family says
        it (see `family_protocol.Parts`); else None.
    dtype : precision of the feature maps during synthesis (images are always float32).
    encoder : volume [N, 1, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim], or None.
    folder : the model folder it came from; None for one of another program, or made in memory.
    path : what `load` opens it from again, a folder or a file; None for one made in memory.
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
        """The frame of a generator whose file does not say where its voxels lie, else None."""
        if "frame" not in self.card.get("space", {}):
            return None
        return Frame("".join(self.space.axcodes), self.space.voxel_size)

    @property
    def frame_note(self) -> str:
        """A sentence for whoever looks at the volumes if their frame is a guess, else nothing."""
        if not self.card.get("space", {}).get("assumed"):
            return ""
        return (
            f"'{self.name}' does not say where its voxels lie: the frame {self.frame} (directions "
            "of the array's axes and voxel size in mm, as FreeSurfer conforms scans) is assumed, "
            "so give the right one with --frame if you know better."
        )

    def with_space(self, space: Space) -> Generator:
        """The same networks with their voxels in another place.

        Parameters
        ----------
        space : a grid of this generator's shape, such as `Frame("LIA", (2, 2, 2)).space(shape)`.

        Returns
        -------
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
        return self._sharing(delta.applied(style_network(self)), self.space, self.card)

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

    @property
    def levels(self) -> list[Grid]:
        """Grids at which an image can be had, coarse to fine; index them with `level`."""
        return self.config.image_grids

    @property
    def layer_resolutions(self) -> list[Grid]:
        """The grid that each row of w governs."""
        return self.config.layer_grids

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
        z : [N, z_dim]
        label : [N or 1, label_dim] of a conditional generator, see `model.labels`; without it
            all labels stay open. One of the original 3D-StyleGAN does not say what its labels
            mean; without a label it gets zeros, as its own program gives it.
        truncation : psi; w = w_avg + psi (w - w_avg) (Karras et al. 2019, appendix B). 1 changes
            nothing, 0 gives the average brain. With labels learned after the training w_avg is
            the mean for the label, so that who is drawn for an age is not pulled away from it.
        truncation_layers : truncate the first so many rows only; None for all.

        Returns
        -------
        [N, num_layers, w_dim]
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

    @property
    def can_invert(self) -> bool:
        """Whether `invert` finds the z of a latent."""
        inner = getattr(self.mapping, "mapping", self.mapping)  # without labels learned afterwards
        return isinstance(inner, HasInverse)

    @torch.no_grad()
    def invert(self, w: Tensor) -> Tensor:
        """The z that lead to latents, nearly: of random brains, or of scans found in w.

        Between two z there are whole brains where there are double exposures between two w.

        Parameters
        ----------
        w : [N, 1, w_dim]

        Returns
        -------
        [N, z_dim]

        Raises
        ------
        ModelError
            If the generator's family has no way back.
        """
        if not self.can_invert:
            raise ModelError(
                f"{self.name} has no way back from a brain to its random numbers: a latent "
                "diffusion has one."
            )
        return cast("HasInverse", self.mapping).invert(w[:, 0].to(self.device, torch.float32))

    def synthesize(self, w: Tensor, noise: Noise = "fixed", level: int = -1) -> Tensor:
        """Intermediate latent to volume; differentiable in w.

        Parameters
        ----------
        w : [N, num_layers, w_dim]
        noise : "fixed" (the maps stored with the model), "none", or a seed. Of a scan's latent
            "none", where noise `draws_texture` over every brain.
        level : which of `levels`; -1 is full resolution.

        Returns
        -------
        [N, C, X, Y, Z] float32, about in [-1, 1].
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

    @property
    def cannot(self) -> dict[str, str]:
        """What this generator lacks, and why, in one sentence each.

        Keys are those of `family_protocol.LACKS`: "layers" (rows of w that can be styled one by
        one), "noise" (that changes random brains), "noise_maps" (that a projection can fit),
        "tuning" (to one scan), "score" (of a volume, by a discriminator), "encode" (a volume).
        """
        lacking = {
            "layers": self.num_layers < 2,
            "noise": not self.has_noise,
            "noise_maps": not isinstance(self.synthesis, HasNoiseMaps),
            "tuning": not isinstance(self.synthesis, SynthesisNetwork),
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
        """ModelError with the reason if it lacks a feature, see `cannot`."""
        reason = self.cannot.get(feature)
        if reason is not None:
            raise ModelError(reason)

    @cached_property
    def has_noise(self) -> bool:
        """Whether noise changes random brains: a generator may have learned to do without."""
        return "noise" not in self._reasons and bool(getattr(self.synthesis, "has_noise", True))

    @cached_property
    def has_layer_noise(self) -> bool:
        """Whether the layers' noise changes any brain, also one found in a scan.

        That of a flow does not: it comes in with the details, which a reconstruction leaves out.
        """
        return bool(getattr(self.synthesis, "has_layer_noise", False))

    @cached_property
    def draws_texture(self) -> bool:
        """Whether noise draws a texture over every brain: one found in a scan is then shown with
        noise "none", see `family_protocol.DrawsTexture`.
        """
        return isinstance(self.synthesis, DrawsTexture) and self.synthesis.draws_texture

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


class NotFinite(ModelError):
    """A network made infinite or undefined numbers of its latent."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            message
            or "The network made numbers that are not finite of this latent, so there is nothing "
            "to show: bring truncation and edits nearer to 0, or choose another model if every "
            "brain fails."
        )


def to_display(volume: Tensor, channel: int = 0) -> np.ndarray:
    """[N, C, X, Y, Z] in [-1, 1] -> (N, X, Y, Z) float32 where 0 is outside and 1 is bright.

    Values are clipped to [0, 1.5]: a brain has no negative intensity, and one beyond one and a
    half times the 99.5th percentile is an artefact.

    Raises
    ------
    NotFinite
        If there are numbers that are not finite: shown, they would look like an empty volume.
    """
    data = (volume.detach().float().cpu()[:, channel] + 1) / 2
    if not bool(torch.isfinite(data).all()):
        raise NotFinite
    return data.clamp_(0, BRIGHTEST).numpy()


def bundled_model_path(name: str = BUNDLED) -> Path:
    """Folder of a generator that ships with the package."""
    installed = Path(str(resources.files("stylegan3d"))) / "weights" / name
    if installed.is_dir():
        return installed
    # An editable install: the weights lie beside src/ in the checkout.
    return Path(__file__).resolve().parents[3] / "weights" / name


def bundled_models() -> list[str]:
    """Names of the generators that ship with the package, of every family; the usual one first."""
    weights = bundled_model_path().parent
    found = []
    for card in sorted(weights.glob(f"*/{CARD}")):
        with suppress(OSError, ValueError):
            if json.loads(card.read_text(encoding="utf-8")).get("format") == FORMAT:
                found.append(card.parent.name)
    return sorted(found, key=lambda name: name != BUNDLED)


def load(
    path: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    frame: Frame | str | None = None,
) -> Generator:
    """Open a trained generator.

    Parameters
    ----------
    path : a model folder, or a network file (.pkl) of the original 3D-StyleGAN, which is read as
        data: nothing in it is run. None opens the brain generator that ships with the package, one
        of the names of `bundled_models` another that does.
    device : "auto", "cpu", "cuda", "cuda:1", "mps". Auto takes a GPU where there is one.
    dtype : "auto", "float32", "bfloat16", "float16": precision of the feature maps. Auto is
        float32: what is saved or measured must be exact. The renderer chooses for itself what
        it shows.
    frame : where the voxels of a network of the original 3D-StyleGAN lie, such as "LIA:2", for its
        file does not say it; None assumes FreeSurfer's (see `frame.assumed_frame`), and
        `frame_note` says so.

    Raises
    ------
    ModelError
        If there is no such model, or it is damaged, or the device does not exist, or a frame is
        given for a model that knows its own.
    """
    place = bundled_model_path() if path is None else Path(path).expanduser()
    if not place.exists() and place.name == str(path) and str(path) in bundled_models():
        place = bundled_model_path(str(path))
    if not place.exists():
        raise ModelError(f"There is no generator at '{place}'; check the path.")
    if isinstance(frame, str):
        frame = Frame.parse(frame)
    files = read_official(place) if is_official(place) else read_folder(place)
    generator = _build(files, files.folder or place, choose_device(device), choose_dtype(dtype))
    if frame is None:
        return generator
    if generator.frame is None:
        raise ModelError(
            f"The model '{generator.name}' says itself where its voxels lie, so it takes no other "
            "frame; leave out --frame."
        )
    return generator.with_space(frame.space(generator.shape))


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
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelError(
            f"The model '{path.name}' is incomplete or its card does not fit its weights "
            f"({reason}); copy the model folder again."
        ) from error
    return Generator(
        parts.mapping,
        parts.synthesis,
        parts.w_avg,
        space,
        card=card,
        hash=files.hash,
        discriminator=parts.discriminator,
        encoder=parts.encoder,
        folder=files.folder,
        path=path,
        device=device,
        dtype=dtype,
        family=family.name,
        config=parts.config,
        cannot=parts.cannot,
        deviations=parts.deviations,
        components=parts.components,
        labels_hash=files.labels_hash,
    )


def _labelled(files: ModelFiles, parts: Parts) -> LabelledMapping:
    """The mapping of a model that learned labels after its training."""
    if parts.config.label_dim:
        raise ValueError("it has labels of its training and others")
    assert files.labels is not None
    sizes = [len(entry["average"]) for entry in files.card["labels"]]
    return LabelledMapping(parts.mapping, sizes, files.labels, parts.config.w_dim)


def seed_latents(
    generator: Generator,
    seeds: Sequence[int],
    truncation: float = 1.0,
    truncation_layers: int | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """w of numbered random brains, [len(seeds), num_layers, w_dim].

    z is `numpy.random.RandomState(seed).randn(1, z_dim)`, so a seed means the same latent in
    every StyleGAN program. `label` [1, label_dim] holds for all of them; see `Generator.map`.
    """
    rows = []
    for seed in seeds:
        z = seed_z(generator, seed)
        # One at a time: in a batch of another size a matrix product may round differently.
        rows.append(generator.map(z, label, truncation, truncation_layers))
    return torch.cat(rows)


def seed_z(generator: Generator, seed: int) -> Tensor:
    """z of a numbered random brain, [1, z_dim]; see `seed_latents`."""
    return torch.from_numpy(np.random.RandomState(seed).randn(1, generator.z_dim)).float()


def mix(w_a: Tensor, w_b: Tensor, strength: float | Sequence[float] | Tensor) -> Tensor:
    """Style mixing: row by row from `w_a` (strength 0) to `w_b` (strength 1), linearly.

    Parameters
    ----------
    w_a, w_b : [..., num_layers, w_dim]
    strength : one number, or one per layer.
    """
    s = torch.as_tensor(strength, dtype=w_a.dtype, device=w_a.device)
    if s.ndim == 1:
        if s.shape[0] != w_a.shape[-2]:
            raise ModelError(
                f"There are {s.shape[0]} mixing strengths for {w_a.shape[-2]} layers; give one "
                "for each layer, or a single one."
            )
        s = s[:, None]
    return torch.lerp(w_a, w_b.to(w_a), s.expand_as(w_a))


def tiny_generator(seed: int = 0, **config: Any) -> Generator:
    """A small untrained generator with real networks, for tests and benchmarks.

    Its volumes have 20 x 28 x 24 voxels of 8 mm, the field of view of the bundled one.
    """
    settings = {"channels": (12, 8), "z_dim": 16, "w_dim": 16, "head": "haar", **config}
    shape = GeneratorConfig(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mapping, synthesis = MappingNetwork(shape), SynthesisNetwork(shape)
        for level in synthesis.typed_levels:
            for layer in level.layers:
                torch.nn.init.constant_(layer.noise_strength, 0.1)
        for rgb in synthesis.image_layers:
            rgb.conv.weight.data.mul_(0.15)  # the image then stays within the displayed range
        labels = torch.zeros(512, shape.label_dim) if shape.label_dim else None
        w_avg = mapping(torch.randn(512, shape.z_dim), labels).mean(dim=0).detach()
    grid = shape.image_grids[-1]
    full = Space((80, 112, 96), np.diag([2.0, 2.0, 2.0, 1.0]))
    card = {"name": f"tiny-{seed}", "architecture": {"generator": shape.to_dict()}}
    return Generator(mapping, synthesis, w_avg, full.resized(grid), card=card, hash=f"tiny{seed}")
