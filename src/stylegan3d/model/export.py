"""A model as a folder that other programs open: Hugging Face, MONAI, ONNX Runtime, torch.export.

Mapping and synthesis are recorded with the stored noise, for one brain at a time, and the recording
is compared with the engine before anything is written.
"""

from __future__ import annotations

import copy
import io
import logging
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from stylegan3d.base import ModelError, StyleGAN3DError
from stylegan3d.checkpoints.folder import is_cut_off
from stylegan3d.model.card import card_text
from stylegan3d.model.generator import Generator, check_page
from stylegan3d.networks.config import FLOW_UNIT
from stylegan3d.networks.flow import Flow
from stylegan3d.networks.latent_diffusion import DiffusionMapping
from stylegan3d.networks.synthesis import MappingNetwork
from stylegan3d.pages.page import plain
from stylegan3d.recipe.model import encode_labels, label_dim, seed_z
from stylegan3d.storage.encoding import LARGEST_FILE
from stylegan3d.storage.files import check_output, read_file, write_together
from stylegan3d.storage.places import CARD, DIRECTIONS, ENCODER, LABELS, MODEL, PAGE, PRIVACY

Target = Literal["hub", "monai", "onnx", "torch-export"]
#: Largest difference from the engine, in intensities of [-1, 1] (and numbers of w).
LARGEST_DIFFERENCE = 1e-4
#: Of a recorded step: the files and lines that it comes from.
TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
#: Files of each target for the recorded networks and what is beside them; templates by their names.
PLACES = {
    "onnx": ("{}.onnx", {PAGE: "exported.md", "metadata.json": "metadata.json"}),
    "torch-export": ("{}.pt2", {PAGE: "exported.md", "metadata.json": "metadata.json"}),
    "monai": (
        "models/{}.pt2",
        {
            "docs/README.md": "exported.md",
            "LICENSE": "licence.md",
            "configs/metadata.json": "metadata.json",
            "configs/inference.json": "inference.json",
        },
    ),
}


class WholeFlow(Flow):
    """A flow on the whole grid: to its convolutions, what lies outside of its box is zero.

    A box whose sides depend on the image cannot be recorded; the result is the same.
    """

    _ends: tuple[float, float]
    _inside: dict[torch.Size, Tensor]

    @classmethod
    def of(cls, flow: Flow) -> WholeFlow:
        """A copy of a flow."""
        whole = copy.deepcopy(flow)
        whole.__class__ = cls
        assert isinstance(whole, cls)
        whole._ends, whole._inside = flow.ends, {}
        for layer in whole.modules():
            if isinstance(layer, nn.Conv3d) and any(layer.padding):
                layer.register_forward_pre_hook(lambda _, x: x[0] * whole._inside[x[0].shape[2:]])
        return whole

    @property
    def ends(self) -> tuple[float, float]:
        """As constants."""
        return self._ends

    def box(self, near: Tensor) -> tuple[slice, slice, slice]:
        """Everything; what `box_of` would give is noted, on the grid of each convolution."""
        inside = near.new_ones((1, 1, 1, 1, 1)).float()
        for axis, count in enumerate(near.shape[2:], 2):
            others = [i for i in range(5) if i != axis]
            found = near.float().amax(dim=others, keepdim=True) > 0
            place = torch.arange(count).reshape([-1 if i == axis else 1 for i in range(5)])
            first = (
                torch.where(found, place, count).amin(axis, keepdim=True) // FLOW_UNIT * FLOW_UNIT
            )
            last = torch.where(found, place, 0).amax(axis, keepdim=True)
            inside = inside * ((place >= first) & (place <= last))
        grids = (inside[:, :, ::step, ::step, ::step] for step in (1, 2, 4))
        self._inside = {grid.shape[2:]: grid for grid in grids}
        x, y, z = near.shape[2:]
        return slice(0, x), slice(0, y), slice(0, z)


class TracedMapping(nn.Module):
    """z [1, z_dim], truncation [1] and, if trained with labels, label [1, L] -> w [1, rows, w_dim].

    Labels learned after the training are not in it: a brain is of nobody in particular.
    """

    w_avg: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        inner = getattr(generator.mapping, "mapping", generator.mapping)
        self.steps = inner.steps if isinstance(inner, DiffusionMapping) else 0
        network = inner.diffusion if isinstance(inner, DiffusionMapping) else inner
        self.network: Any = copy.deepcopy(network).cpu()
        self.rows = generator.num_layers
        self.register_buffer("w_avg", generator.w_avg.cpu())

    def forward(self, z: Tensor, truncation: Tensor, label: Tensor | None = None) -> Tensor:
        """As `Generator.map`."""
        if self.steps:
            w = self.network.draw(z, self.steps, torch.float32, lambda: None)
        else:
            w = self.network(z, label)
        w = self.w_avg + truncation * (w - self.w_avg)
        return w[:, None].expand(-1, self.rows, -1).clone()


class TracedSynthesis(nn.Module):
    """w [1, rows, w_dim] -> volume [1, C, X, Y, Z], float32, about in [-1, 1]."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        assert isinstance(generator.synthesis, nn.Module)
        self.network = copy.deepcopy(generator.synthesis).cpu()
        if isinstance(flow := getattr(self.network, "flow", None), Flow):
            self.network.flow = WholeFlow.of(flow)

    def forward(self, w: Tensor) -> Tensor:
        """As `Generator.synthesize` with the stored noise."""
        made: Tensor = self.network(w, "fixed", -1, torch.float32)
        return made


@dataclass(frozen=True)
class ExportedModel:
    """What was written.

    Attributes
    ----------
    files : tuple of str
        Names in the folder.
    difference : float or None
        Largest difference of w and of the volume of seed 1 from the engine's, in [-1, 1]; None
        where the weights were copied.
    left_out : tuple of str
        What the exported model cannot do, a sentence each.
    """

    files: tuple[str, ...]
    difference: float | None
    left_out: tuple[str, ...]


def export(
    generator: Generator, to: Target, out: str | Path, *, overwrite: bool = False
) -> ExportedModel:
    """Write a model for other programs.

    Parameters
    ----------
    generator : Generator
        Of any family, with a card of its own.
    to : {"hub", "monai", "onnx", "torch-export"}
        A folder for the Hugging Face Hub (the weights as they are), a MONAI bundle, or mapping and
        synthesis for ONNX Runtime or `torch.export.load`.
    out : path-like
        The folder.
    overwrite : bool
        Replace files that are there; those of an interrupted export are replaced anyway.

    Raises
    ------
    ModelError, StyleGAN3DError, OutputError
        If the model has no card, cannot be recorded or its recording makes another volume; if a
        package is missing; if the folder cannot be written.
    """
    out = Path(out)
    check_page(generator)
    left_out = tuple(_left_out(generator, to))
    if to == "hub":
        return _for_hub(generator, out, left_out, overwrite=overwrite)
    network, templates = PLACES[to]
    places = {name: network.format(name) for name in ("mapping", "synthesis")}
    names = [*places.values(), *templates]
    overwrite = overwrite or is_cut_off(out, names)
    check_output([out / name for name in names], overwrite)
    data, difference = _recorded(generator, to)
    facts = {"generator": generator, "card": generator.card, "taken": _taken(generator)}
    facts |= {"label": _average(generator)}
    facts |= {"to": to, "left_out": left_out, "difference": difference}
    facts |= {"torch": torch.__version__, "numpy": np.__version__}
    written = {out / places[name]: content for name, content in data.items()}
    written |= {out / n: plain(template, **facts).encode() for n, template in templates.items()}
    write_together(written, overwrite=overwrite)
    return ExportedModel(tuple(names), difference, left_out)


PRIVATE = "The privacy index is left out: it holds features of the training subjects."


def _left_out(generator: Generator, to: Target) -> list[str]:
    if to == "hub":
        there = generator.folder is not None and (generator.folder / PRIVACY).is_file()
        return [PRIVATE] if there else []
    told = ["Brains are made one at a time: the batch size is 1."]
    if generator.has_noise:
        told.append("Noise cannot be chosen: every brain has the texture stored with the model.")
    if generator.label_dim and not _taken(generator):
        names = ", ".join(entry["name"] for entry in generator.card["labels"])
        told.append(f"Brains cannot be requested by label ({names}), only by seed.")
    return [*told, "Scans cannot be projected: the encoder is not included."]


def _taken(generator: Generator) -> int:
    """Numbers of the label that its mapping network takes: of labels that it was trained with."""
    return generator.mapping.label_dim if isinstance(generator.mapping, MappingNetwork) else 0


def _average(generator: Generator) -> list[float]:
    """These numbers for the average of the training subjects."""
    schema, size = generator.card.get("labels") or (), _taken(generator)
    known = label_dim(schema) == size > 0
    return encode_labels(schema)[0].tolist() if known else [0.0] * size


def _for_hub(
    generator: Generator, out: Path, left_out: tuple[str, ...], *, overwrite: bool
) -> ExportedModel:
    """The model's own files under a page whose front matter the Hub reads."""
    folder, card = generator.needed_folder(), generator.card
    others = {*card.get("files", {}), card.get("montage") or MODEL} - {MODEL, PAGE, CARD}
    names = [MODEL, *(name for name in sorted(others) if (folder / name).is_file()), PAGE, CARD]
    overwrite = overwrite or is_cut_off(out, names)
    check_output([out / name for name in names], overwrite)
    # Of several licences, or one without its version, the Hub has no name.
    by = r"CC[ -]?(?:(BY(?:-(?:NC|SA|ND))*)[ -]?(\d\.\d)|0(?:[ -]?1\.0)?)"
    known = re.fullmatch(by, card["licence"].partition(" (")[0])
    kind = known and (f"cc-{known[1]}-{known[2]}".lower() if known[1] else "cc0-1.0")
    figures = [row for part in card.get("evaluation", {}).values() for row in part]
    front = plain("hub.md", card=card, licence=kind, figures=figures, family=generator.family)
    page = (front + "\n" + card_text(card)).encode()
    written = {out / n: page if n == PAGE else read_file(folder / n, LARGEST_FILE) for n in names}
    write_together(written, overwrite=overwrite)
    if overwrite and folder.resolve() != out.resolve():  # what a former model there had too
        for name in {DIRECTIONS, ENCODER, LABELS, PRIVACY} - {*names}:
            (out / name).unlink(missing_ok=True)
    return ExportedModel(tuple(names), None, left_out)


def _recorded(generator: Generator, to: Target) -> tuple[dict[str, bytes], float]:
    """Mapping and synthesis recorded and wrapped, and their largest difference from the engine."""
    parts: dict[str, nn.Module] = {"mapping": TracedMapping(generator)}
    parts["synthesis"] = TracedSynthesis(generator)
    z, average = seed_z(generator, 1), _average(generator)
    label = (torch.tensor([average]),) if average else ()
    w = generator.map(z, *label).cpu()
    inputs = {"mapping": (z, torch.ones(1), *label), "synthesis": (w,)}
    wanted = {"mapping": w, "synthesis": generator.synthesize(w).cpu()}
    data, apart = {}, 0.0
    wrapped = _for_onnx if to == "onnx" else _for_torch
    for name, part in parts.items():
        # oneDNN's own operations are unknown to other programs; and what is computed once and kept
        # has to be there before it is recorded.
        with (
            warnings.catch_warnings(action="ignore"),
            torch.no_grad(),
            torch.backends.mkldnn.flags(enabled=False),
        ):
            part.eval()(*inputs[name])
            try:
                program = _without_places(torch.export.export(part, inputs[name], strict=False))
                data[name], made = wrapped(program, inputs[name])
            except StyleGAN3DError:
                raise
            except Exception as error:  # whatever torch or onnx makes of a network
                raise ModelError(
                    f"The {name} of '{generator.name}' cannot be recorded for {to} "
                    f"({type(error).__name__}): export it to hub, which copies the weights."
                ) from error
        apart = max(apart, float((made - wanted[name]).abs().max()))
        if not apart <= LARGEST_DIFFERENCE:
            raise ModelError(
                f"The exported {name} of '{generator.name}' differs from the engine's by "
                f"{apart:.1g}, more than {LARGEST_DIFFERENCE:.0g}: nothing was written. Use hub."
            )
    return data, apart


def _without_places(program: ExportedProgram) -> ExportedProgram:
    """A program that does not say in which files of whose computer it was recorded."""
    parts = [part for part in program.graph_module.modules() if isinstance(part, GraphModule)]
    for node in (node for part in parts for node in part.graph.nodes):
        node.meta = {key: found for key, found in node.meta.items() if key not in TRACES}
    return program


def _for_torch(program: ExportedProgram, inputs: tuple[Tensor, ...]) -> tuple[bytes, Tensor]:
    """For `torch.export.load`, and what it makes of the inputs."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    made: Tensor = torch.export.load(buffer).module()(*inputs)
    return buffer.getvalue(), made


def _for_onnx(program: ExportedProgram, inputs: tuple[Tensor, ...]) -> tuple[bytes, Tensor]:
    """For ONNX Runtime, and what that makes of the inputs."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise StyleGAN3DError(
            "ONNX needs packages of its own: pip install 'napari-stylegan3d[export]'"
        ) from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # on packages that are not needed
    synthesis = len(inputs) == 1
    names = ["w"] if synthesis else ["z", "truncation", "label"][: len(inputs)]
    made = torch.onnx.export(
        program,
        input_names=names,
        output_names=["volume" if synthesis else "w"],
        dynamo=True,
        verbose=False,
    )
    assert made is not None
    data = made.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return data, torch.from_numpy(session.run(None, given)[0])
