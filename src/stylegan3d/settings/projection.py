"""What can be chosen for the projection of a scan."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from stylegan3d.settings.option import Option

#: One w for all layers, one for each, or the layers' noise too.
Space = Literal["w", "w+", "w+noise"]
#: This program's search, or the projector of the original 3D-StyleGAN.
Method = Literal["stylegan3d", "original"]
SPACES: tuple[Space, ...] = get_args(Space)
METHODS: tuple[Method, ...] = get_args(Method)
#: Steps of the search from an encoder's guess; "thorough" is followed by pivotal tuning.
BUDGETS = {"draft": 12, "standard": 60, "thorough": 120}
TUNED = ("thorough",)
#: The budget of what is only a part of something else, such as searches for an uncertainty.
QUICK = "draft"


@dataclass(frozen=True)
class Choices:
    """How to project; each as `Scan.align`, `read_scan` and `project` take it.

    `pose` is in the words of `pose.parse_pose`, `operator` in those of `operators.parse`;
    `uncertainty` is how many more searches tell what is left open, see `projection.uncertainty`.
    """

    space: Annotated[
        Space,
        Option(
            "Latent space",
            "What is optimised.",
            choices={
                "w": "one w for all layers, the most typical brain",
                "w+": "one w per layer, closer to the scan",
                "w+noise": "the layer noise too, closest to the scan",
            },
        ),
    ] = "w+"
    budget: Annotated[
        str,
        Option(
            "Budget",
            "How long to search.",
            choices={
                "draft": "seconds",
                "standard": "until improvement stalls",
                "thorough": "minutes, and the model is tuned to the scan",
            },
        ),
    ] = "standard"
    steps: int | None = None
    method: Annotated[
        Method,
        Option(
            "Method",
            "How to search.",
            choices={
                "stylegan3d": "this program's method",
                "original": "that of the original 3D-StyleGAN",
            },
        ),
    ] = "stylegan3d"
    skull: str = "auto"
    pose: str | None = None
    volume: int | None = None
    series: str | None = None
    trust: str | None = None
    channel: int = 0
    operator: str | None = None
    uncertainty: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what was not chosen is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}
