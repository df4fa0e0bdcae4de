"""The encoder is deepbet's, and its descriptors tell brains apart."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.base import StyleGAN3DError
from stylegan3d.metrics.features import (
    DESCRIPTOR_SIZE,
    describe,
    feature_maps,
    feature_network,
    network_input,
)

MM = (8.0, 8.0, 8.0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_encoder_is_that_of_the_traced_network() -> None:
    """With the decoder rebuilt beside it, the whole network gives what the traced one gives."""
    from deepbet.utils import DATA_PATH

    traced = torch.jit.load(f"{DATA_PATH}/models/model.pt", map_location="cpu").eval()
    weights = traced.state_dict()

    def unit(x, name):  # 1x1x1 or transposed convolution, instance norm, ReLU
        weight, bias = weights[f"{name}.0.weight"], weights.get(f"{name}.0.bias")
        if "tp_conv" in name:
            stride = 1 if name.startswith("up3") else 2
            y = F.conv_transpose3d(x, weight, bias, stride, 1, output_padding=stride - 1)
        else:
            y = F.conv3d(x, weight, bias, padding=weight.shape[-1] // 2)
        return F.relu(F.instance_norm(y))

    def up(x, name):
        return unit(unit(unit(x, f"{name}.conv1"), f"{name}.tp_conv"), f"{name}.conv2")

    x = torch.from_numpy(np.random.default_rng(0).normal(0.4, 0.2, (1, 1, 64, 64, 64))).float()
    with torch.no_grad():
        stem, down0, down1, down2, down3 = feature_maps(feature_network(), x)
        y = up(down3, "up0") + down2
        y = up(y, "up1") + down1
        y = up(y, "up2") + down0
        y = up(y, "up3") + stem
        y = unit(unit(y, "tp_conv1"), "conv")
        y = F.conv_transpose3d(y, weights["tp_conv2.weight"], weights["tp_conv2.bias"], 2)
        assert torch.allclose(torch.softmax(y, 1), traced(x), atol=LAYERS)


def test_input_is_normalised_as_deepbet_does(blobs: np.ndarray) -> None:
    x = network_input(blobs[0], (1.0, 1.0, 1.0))
    assert x.shape == (1, 1, 32, 32, 32)  # never smaller: the last stage divides by 32
    assert float(x.mean()) == pytest.approx(0.449, abs=1e-5)
    assert float(x.std()) == pytest.approx(0.226, abs=SUMS)


def test_descriptors_do_not_depend_on_scale_or_storage(
    blobs: np.ndarray, coarse_features: None
) -> None:
    rows = describe([blobs[0], blobs[0] / 255, blobs[0] / 510, blobs[1]], MM)
    assert rows.shape == (4, DESCRIPTOR_SIZE)
    assert np.allclose(rows[0], rows[1], atol=FLOAT32)
    assert np.allclose(rows[0], rows[2], atol=LAYERS)
    assert np.abs(rows[0] - rows[3]).max() > 0.01


def test_an_empty_volume_is_refused(blobs: np.ndarray, coarse_features: None) -> None:
    with pytest.raises(StyleGAN3DError, match="Volume 2 is empty"):
        describe([blobs[0], np.zeros_like(blobs[0])], MM)
