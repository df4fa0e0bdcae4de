"""What the renderer leaves out, takes again and gives up, compared to the plain synthesis."""

from __future__ import annotations

import contextlib
import resource

import numpy as np
import pytest
import torch
from tiny import tiny_generator

from stylegan3d.base import Cancelled, Progress, StyleGAN3DError
from stylegan3d.networks.memo import Memo
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render import renderer as graphs
from stylegan3d.render.renderer import (
    TOLERATED_DIFFERENCE,
    TOLERATED_IN_PREVIEWS,
    Readout,
    Renderer,
)

SHAPES = {
    "skip, Haar": {"channels": (8, 8, 8)},
    "skip": {"channels": (8, 8, 8), "head": "image"},
    "orig": {"channels": (8, 8, 8), "head": "image", "wiring": "orig"},
    "resnet": {"channels": (8, 8, 8), "head": "image", "wiring": "resnet"},
    "anatomy": {
        "levels": 3,
        "deformation": 4,
        "deformation_level": 1,
        "image_basis": 6,
        "detail_basis": 4,
        "image_const": True,
        "flow_channels": (4, 4, 4),
        "flow_steps": 1,
    },
}


def made(shape: str):
    """A small generator of which every part has an effect."""
    generator = tiny_generator(**{"base": (3, 4, 3), **SHAPES[shape]})
    synthesis = generator.synthesis
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for name, scale in (("image_basis", 0.1), ("detail_basis", 0.1), ("velocity_basis", 0.05)):
            if hasattr(synthesis, name):
                getattr(synthesis, name).weight.normal_(std=scale)
        if shape == "anatomy":
            for parameter in synthesis.flow.parameters():
                parameter.normal_(std=0.1)
            synthesis.flow.noise_strength.fill_(0.1)
            synthesis.flow.spread.fill_(0.05)  # so that the gate is open
        for level in getattr(synthesis, "levels", ()):
            for layer in level.layers:
                layer.bias.normal_(std=0.3)
    return generator


@pytest.fixture(params=SHAPES)
def generator(request):
    return made(request.param)


@pytest.mark.parametrize("quality", ["full", "fast", "preview"])
def test_a_changed_row_gives_what_a_new_renderer_gives(generator, quality):
    """Row by row, forwards and back: nothing stale is ever shown."""
    renderer = Renderer(generator)
    w, other = seed_latents(generator, [0, 1])
    renderer.render(w, quality)
    for row in (*range(generator.num_layers), 2, 0):
        w = w.clone()
        w[row] = other[row] + 0.1 * row
        kept = renderer.render(w, quality).volume
        fresh = Renderer(generator)
        fresh._ways = dict(renderer._ways)  # the choice of precision is not what is compared
        assert np.array_equal(kept, fresh.render(w, quality).volume), row


def test_only_layers_from_the_changed_row_on_are_computed(generator):
    renderer = Renderer(generator)
    w = seed_latents(generator, [0])[0]
    renderer.render(w)
    whole = renderer.memo.computed
    counts = []
    for row in range(generator.num_layers):
        w = w.clone()
        w[row] += 0.1
        renderer.render(w)
        counts.append(renderer.memo.computed)
        assert renderer.memo.computed + renderer.memo.reused == whole
    assert counts[0] == whole
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == (0 if generator.family == "anatomy" else 1)
    renderer.render(w)
    assert renderer.memo.computed == 0


def test_other_noise_is_seen(generator):
    renderer = Renderer(generator)
    w = seed_latents(generator, [0])[0]
    volumes = [renderer.render(w, noise=noise).volume for noise in ("fixed", "none", 7, 7, 8)]
    assert np.array_equal(volumes[2], volumes[3])
    for i, j in ((0, 1), (1, 2), (2, 4)):
        assert not np.array_equal(volumes[i], volumes[j])


def test_random_noise_is_other_noise_each_time(generator):
    renderer = Renderer(generator)
    w = seed_latents(generator, [0])[0]
    first, second = (renderer.render(w, noise="random").volume for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("rows", "channel", "told"),
    [
        ((6, 3), 0, r"\(6, 16\)"),
        ((5, 16), 0, r"\(5, 16\)"),
        ((6, 16), 1, "channel 1"),
        ((6, 16), -1, "-1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(rows, channel, told):
    with pytest.raises(StyleGAN3DError, match=told):
        Renderer(made("skip")).render(torch.zeros(rows), channel=channel)


def test_a_rendering_can_be_given_up_between_layers(generator):
    renderer = Renderer(generator)
    w, other = seed_latents(generator, [0, 1])
    expected = renderer.render(w).volume
    asked = []

    def stop_at_third() -> bool:
        asked.append(None)
        return len(asked) == 3

    with pytest.raises(Cancelled):
        renderer.render(other, progress=Progress(cancelled=stop_at_third))
    assert len(asked) == 3
    assert np.array_equal(
        renderer.render(w, progress=Progress(cancelled=lambda: False)).volume, expected
    )


def test_a_small_budget_keeps_the_coarse_layers(generator):
    w = seed_latents(generator, [0])
    memo = Memo(budget=20_000)
    renderer = Renderer(generator)
    renderer.memo = memo
    assert np.array_equal(renderer.render(w[0]).volume, Renderer(generator).render(w[0]).volume)
    assert 0 < memo.size <= 20_000


def test_fast_and_preview_stay_close_to_float32(generator):
    renderer = Renderer(generator)
    w = seed_latents(generator, [3])[0]
    exact = {
        "fast": generator.synthesize(w[None]),
        "preview": generator.synthesize(w[None], level=renderer.preview_level),
    }
    for quality, image in exact.items():
        shown = ((image[0, 0] + 1) / 2).clamp(0, 1.5)
        volume = torch.from_numpy(renderer.render(w, quality).volume)
        tolerated = TOLERATED_DIFFERENCE if quality == "fast" else TOLERATED_IN_PREVIEWS
        error = float((volume - shown).square().mean().sqrt())
        assert error <= tolerated * float(image.abs().max()) / 2


def test_a_draft_is_not_shown_where_the_last_level_matters():
    """The convolutions left out of a draft must have no say in the low band."""
    generator = made("skip, Haar")
    last = generator.synthesis.to_rgb["2"]
    w = seed_latents(generator, [0])[0]
    with torch.no_grad():
        last.conv.weight[:1] = 0
        last.bias[:1] = 0
    renderer = Renderer(generator)
    renderer.render(w, "preview")
    assert renderer._ways["preview"].draft
    with torch.no_grad():
        last.conv.weight[:1] = 1
    renderer = Renderer(generator)
    renderer.render(w, "preview")
    assert not renderer._ways["preview"].draft


def test_volumes_of_a_batch_are_what_they_are_alone(generator):
    w = seed_latents(generator, [0, 1, 2])
    together = generator.synthesize(w)
    for i in range(3):
        assert torch.equal(together[i], generator.synthesize(w[i : i + 1])[0])


def test_many_renderings_take_no_more_memory():
    generator = tiny_generator()
    renderer = Renderer(generator)
    ws = seed_latents(generator, range(20))
    before = 0
    for turn in range(30):
        for w in ws:
            renderer.render(w, ("full", "fast", "preview")[turn % 3])
        if turn == 9:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 20_000  # KiB


def test_a_reading_finds_a_linear_relation_and_admits_that_there_is_none():
    def linear(number: int):
        features = torch.randn(1, 5, 6, 6, 6, generator=torch.Generator().manual_seed(number))
        image = (features * torch.arange(5.0)[:, None, None, None]).sum(1, keepdim=True) + 3
        return features, image.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(
            2, 4
        )

    def unrelated(number: int):
        features, image = linear(number)
        return features, linear(number + 1)[1] + 0 * image

    found = Readout.fit(linear, range(3), range(3, 5))
    assert found.explained > 0.999
    features, image = linear(9)
    # A regression drawn towards zero, of numbers up to 16.
    torch.testing.assert_close(found(features), image[:, :, ::2, ::2, ::2], atol=0.01, rtol=0)
    assert Readout.fit(unrelated, range(3), range(3, 5)).explained < 0.1


@pytest.mark.parametrize("shape", ["orig", "resnet"])
def test_networks_without_coarse_images_get_previews_only_if_they_are_good(shape):
    generator = made(shape)
    renderer = Renderer(generator)
    w = seed_latents(generator, [0], truncation=0.7)[0]
    assert renderer.preview_level == -1
    assert renderer.render(w, "preview").volume.shape == generator.shape
    with torch.no_grad():  # random weights: nothing linear about them
        assert renderer.learn_preview() < 0.9
    assert renderer.preview_level == -1
    # A last level that hands its features on makes the image a linear function of them.
    level, rgb = generator.synthesis.typed_levels[-1], generator.synthesis.to_rgb["2"]
    with torch.no_grad():
        for layer in level.layers:
            layer.noise_strength.zero_()
            layer.bias.fill_(4)
            layer.conv.style.weight.zero_()
            layer.conv.weight.zero_()
            layer.conv.weight[:, :, 1, 1, 1] = torch.eye(8) * layer.conv.weight[0].numel() ** 0.5
            layer.conv.demodulate = False
        generator.synthesis.const.add_(3)  # so that no feature is switched off by its sign
        rgb.conv.style.weight.zero_()
        rgb.conv.weight.div_(generator.synthesize(w[None]).abs().max())  # within what is displayed
    renderer = Renderer(generator)
    assert renderer.learn_preview() > 0.9
    preview = renderer.render(w, "preview")
    assert preview.volume.shape == tuple(n // 2 for n in generator.shape)
    full = torch.from_numpy(Renderer(generator).render(w).volume)[None, None]
    pooled = torch.nn.functional.avg_pool3d(full, 2)[0, 0].numpy()
    assert np.corrcoef(pooled.ravel(), preview.volume.ravel())[0, 1] > 0.9


def test_a_recorded_synthesis_is_replayed_on_its_own_latent(monkeypatch):
    """Without a GPU: that the latent is copied in before, and the image out after, the replay."""
    calls, modes, scope = [], [], contextlib.nullcontext()

    class Graph:
        def replay(self):
            calls.append("replay")
            recorded._image.copy_(synthesize(recorded._w))

    class Stream:
        def wait_stream(self, other):
            calls.append("wait")

    def synthesize(w):
        return w.sum(dim=(1, 2), keepdim=True) * 2

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **how: modes.append(how) or scope)
    first, second = torch.ones(1, 2, 3), torch.full((1, 2, 3), 5.0)
    recorded = graphs.RecordedSynthesis(synthesize, first)
    image = recorded(second)
    assert float(image) == 60
    assert float(recorded(first)) == 12
    assert float(image) == 60  # the caller's image is not overwritten by the next replay
    assert torch.equal(first, torch.ones(1, 2, 3))
    assert modes == [{"capture_error_mode": "thread_local"}]  # other threads may allocate
