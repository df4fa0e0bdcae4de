"""The anatomy-model family: card checks and networks.

A brain is made of linear appearance images in one common anatomy, warped by a deformation, and
given texture by a flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegan3d.base import JsonView, ModelError
from stylegan3d.model.families.stylegan import StyleGAN, build_parts, fill
from stylegan3d.model.family import ANATOMY, Family, Parts, Tensors
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, config_of

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

SYNTHESIS = "synthesis."
#: Layers without effect that the weights of the bundled model hold, whose hash recipes name.
UNREAD = ("const", "base_dense.", "levels.", "to_rgb.")


class AnatomyModel(StyleGAN):
    """The family, checked as a StyleGAN; see `family.Family`."""

    name, title = ANATOMY, "anatomy model"

    def build(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> Parts:
        """Build mapping, synthesis and, if saved, discriminator and encoder."""
        config = config_of(card["architecture"]["generator"])
        assert isinstance(config, AnatomyConfig)
        stored = {
            k.removeprefix(SYNTHESIS): v for k, v in tensors.items() if k.startswith(SYNTHESIS)
        }
        synthesis = AnatomyNetwork(config)
        fill(synthesis, {k: v for k, v in stored.items() if not k.startswith(UNREAD)}, "")
        return build_parts(config, synthesis, card, tensors, encoder)


FAMILY: Family = AnatomyModel()


def anatomy_network(generator: Generator) -> AnatomyNetwork:
    """The synthesis network of an anatomy model.

    Raises
    ------
    ModelError
        If the generator is of another family.
    """
    network = generator.synthesis
    if not isinstance(network, AnatomyNetwork):
        raise ModelError(
            f"Only anatomy models support this, and '{generator.name}' is of another family: "
            "choose another model."
        )
    return network
