"""What a training run holds between two steps, and how it survives a power cut."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.anatomy_layers import LayeredAnatomy, build_synthesis
from stylegan3d.networks.discriminator import Discriminator
from stylegan3d.networks.fitting import FittingEncoder, build_encoder
from stylegan3d.networks.mapping import MappingNetwork
from stylegan3d.networks.synthesis import StyleLayers
from stylegan3d.plain import Json
from stylegan3d.storage.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from stylegan3d.training.config import TrainConfig
from stylegan3d.training.judge_augment import JudgeAugment
from stylegan3d.training.run import averaged

__all__ = ["CHECKPOINT", "TrainState"]

IMAGE_LR_SCALE, BASIS_LR_SCALE, ENCODER_LINEAR_LR_SCALE = 0.03, 0.003, 0.001


class TrainState:
    """Networks, their averages, optimisers and counters."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        torch.manual_seed(config.seed)
        self.mapping = MappingNetwork(config.generator).to(device)
        self.synthesis = build_synthesis(config.generator).to(device)
        self.encoder = build_encoder(config.encoder, self.synthesis).to(device)
        self.discriminator = Discriminator(config.discriminator).to(device)
        self._averaged = {n: averaged(m, self._memory) for n, m in self.nets.items()}
        self.averages: dict[str, nn.Module] = {n: a.module for n, a in self._averaged.items()}
        fitting, synthesis = self.averages["encoder"], self.averages["synthesis"]
        if isinstance(fitting, FittingEncoder) and isinstance(synthesis, AnatomyNetwork):
            fitting.belong_to(synthesis)
        # One optimiser for all that makes the volume, one for the judge.
        self.maker = torch.optim.Adam(self._maker_groups(), betas=(config.generator_beta1, 0.99))
        self.judge = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.discriminator_lr, betas=(0.0, 0.99)
        )
        # After the optimiser has been made: its groups are the same for all settings.
        self._silence()
        self.w_avg = torch.zeros(config.generator.w_dim, device=device)
        self.path_mean = torch.zeros((), device=device)
        self.judge_augment = JudgeAugment(0.0 if config.d_augment == "none" else config.d_augment_p)
        # Labels [n, label_dim] of the training subjects; None for an unconditional generator.
        self.people: torch.Tensor | None = None
        self.label_schema: list[Json] = []  # see `stylegan3d.recipe.label`
        # Whether the reconstruction phase is over and the mapping network fitted.
        self.warm_started = False
        self.images = 0
        self.steps = 0
        self.seconds = 0.0
        # What whoever resumed the run should know.
        self.note = ""

    @property
    def anatomy(self) -> AnatomyNetwork:
        """The synthesis network of an anatomy model."""
        assert isinstance(self.synthesis, AnatomyNetwork)
        return self.synthesis

    @property
    def layered(self) -> LayeredAnatomy:
        """The synthesis network of an anatomy model with layers."""
        assert isinstance(self.synthesis, LayeredAnatomy)
        return self.synthesis

    def _maker_groups(self) -> list[Json]:
        """Parameters with their learning rates.

        What adds to the image directly (the constant image, the basis, ToRGB's biases) is not
        equalised: at the networks' rate every step would shake each voxel by that rate. The same
        goes for the encoder's linear part, which sums over a hundred thousand voxels.
        """
        config = self.config
        image, linear, equalised = [], [], []
        for name, parameter in self.synthesis.named_parameters():
            if not parameter.requires_grad:
                continue
            if name.startswith("image_basis."):
                linear.append(parameter)
            elif name == "image_const" or (name.startswith("to_rgb") and name.count(".") == 2):
                image.append(parameter)
            else:
                equalised.append(parameter)
        encode = {n: p for n, p in self.encoder.named_parameters() if p.requires_grad}
        encode_linear = [encode.pop(n) for n in [*encode] if n.startswith("linear.")]
        groups = [
            (equalised, config.generator_lr),
            (image, config.generator_lr * IMAGE_LR_SCALE),
            (linear, config.generator_lr * BASIS_LR_SCALE),
            ([*self.mapping.parameters()], config.generator_lr),
            ([*encode.values()], config.encoder_lr),
            (encode_linear, config.encoder_lr * ENCODER_LINEAR_LR_SCALE),
        ]
        return [{"params": p, "lr": rate, "base_lr": rate} for p, rate in groups if p]

    def _silence(self) -> None:
        """Remove the noise of the finest layers, as set; its strength is not trained then."""
        silent = self.config.silent_layers
        for synthesis in (self.synthesis, self.averages["synthesis"]) if silent else ():
            assert isinstance(synthesis, StyleLayers)
            for layer in synthesis.layers[-silent:]:
                layer.noise_strength.requires_grad_(False).zero_()

    @property
    def nets(self) -> dict[str, nn.Module]:
        """The networks whose average is shipped."""
        return {
            "mapping": self.mapping,
            "synthesis": self.synthesis,
            "encoder": self.encoder,
        }

    def start_averages(self) -> None:
        """Set the averages to the networks as they are."""
        for name, net in self.nets.items():
            self.averages[name].load_state_dict(net.state_dict())

    def _memory(self) -> float:
        """Decay of the averages; their half-life is shorter at the start."""
        half_life = min(self.config.ema_images, 0.1 * self.images + 1)
        return 0.5 ** (self.config.batch / half_life)

    def update_averages(self) -> None:
        """Exponential moving average of the weights."""
        for name, net in self.nets.items():
            self._averaged[name].update_parameters(net)

    def data(self) -> dict[str, Any]:
        """All there is to know, as tensors and plain data."""
        return {
            "config": self.config.to_dict(),
            "networks": {n: m.state_dict() for n, m in self.nets.items()},
            "discriminator": self.discriminator.state_dict(),
            "averages": {n: m.state_dict() for n, m in self.averages.items()},
            "maker": self.maker.state_dict(),
            "judge": self.judge.state_dict(),
            "w_avg": self.w_avg,
            "path_mean": self.path_mean,
            "judge_augment": asdict(self.judge_augment),
            "labels": self.label_schema,
            "warm_started": self.warm_started,
            "counters": {"images": self.images, "steps": self.steps, "seconds": self.seconds},
        }

    def save(self, folder: Path) -> None:
        """Write the checkpoint; see `checkpointing.save_checkpoint`."""
        save_checkpoint(folder, self.data())

    @classmethod
    def load(cls, folder: Path, device: torch.device, **changes: Any) -> TrainState:
        """Resume from a run's folder; `changes` override settings that may change midway.

        If the last checkpoint is damaged, the previous one is used, and `note` reports it.
        """
        state, note = load_checkpoint(
            folder, device, lambda data: cls.from_data(data, device, **changes)
        )
        state.note = note
        return state

    @classmethod
    def from_data(cls, data: dict[str, Any], device: torch.device, **changes: Any) -> TrainState:
        """Inverse of `data`; `changes` override settings that may change midway."""
        state = cls(TrainConfig.from_dict(data["config"]).with_(**changes), device)
        for name, net in state.nets.items():
            net.load_state_dict(data["networks"][name])
            state.averages[name].load_state_dict(data["averages"][name])
        state._silence()
        state.discriminator.load_state_dict(data["discriminator"])
        kept = ("base_lr", "betas")  # as set now, not as they were when the run was saved
        options = [{key: group[key] for key in kept} for group in state.maker.param_groups]
        state.maker.load_state_dict(data["maker"])
        for group, option in zip(state.maker.param_groups, options, strict=True):
            group.update(option)
        state.judge.load_state_dict(data["judge"])
        for group in state.judge.param_groups:
            group["lr"] = state.config.discriminator_lr
        state.w_avg, state.path_mean = (data[k].to(device) for k in ("w_avg", "path_mean"))
        if "judge_augment" in data and not {"d_augment", "d_augment_p"} & set(changes):
            state.judge_augment = JudgeAugment(**data["judge_augment"])
        state.label_schema = data.get("labels", [])
        state.warm_started = data["warm_started"]
        counters = data["counters"]
        state.images, state.steps = counters["images"], counters["steps"]
        state.seconds = counters["seconds"]
        return state
