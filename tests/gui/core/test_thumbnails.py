"""Thumbnails: made in order, kept within bounds, out of the main view's way."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_stylegan3d.core import thumbnails
from napari_stylegan3d.core.jobs import Loaded, place
from napari_stylegan3d.core.rendering import Rendering
from napari_stylegan3d.core.session import Session
from napari_stylegan3d.core.thumbnails import (
    RATIO,
    SIDE,
    Thumbnails,
    crossed_out,
    picture_of,
    scaled,
)
from napari_stylegan3d.core.worker import end_work
from stylegan3d.geometry.space import Frame
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.render.recipes import render_recipe
from stylegan3d.render.renderer import Renderer


def brains(*seeds: int) -> list[Recipe]:
    return [Recipe(Source("seed", seed)) for seed in seeds]


def pixels(image) -> np.ndarray:
    """(rows, columns) of a grey QImage, 0 to 255."""
    bits = image.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(image.sizeInBytes())
    rows = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width()].astype(int)


@pytest.fixture
def service(qtbot, tiny_generator, monkeypatch):
    """The service beside a main view that has shown its first brain, and what became ready."""
    monkeypatch.setattr(thumbnails, "SHARPEN_MS", 3_600_000)
    session = Session()
    rendering = Rendering(session)
    made = Thumbnails(session, rendering)
    loaded = Loaded(tiny_generator, Renderer(tiny_generator))
    rendering.use(loaded)
    session.set_generator(tiny_generator)
    made.seen = []
    made.ready.connect(lambda recipe, _: made.seen.append(recipe))
    made.rendering, made.session = rendering, session
    qtbot.waitUntil(lambda: not rendering.busy, timeout=20_000)
    rendering.previews_ready(loaded)
    yield made
    end_work(made, rendering)


def test_pictures_come_in_the_order_of_urgency(qtbot, service):
    wanted = brains(3, 1, 2)
    assert service.image(wanted[0]) is None
    service.want("browse.wall", wanted)
    qtbot.waitUntil(lambda: len(service.seen) == 3, timeout=20_000)
    assert service.seen == wanted
    images = [service.image(recipe) for recipe in wanted]
    assert all(image.width() == SIDE * RATIO for image in images)
    assert not np.array_equal(pixels(images[0]), pixels(images[1]))


def test_previews_are_replaced_by_pictures_of_the_full_volume(qtbot, service, monkeypatch):
    monkeypatch.setattr(thumbnails, "SHARPEN_MS", 20)
    wanted = brains(3, 1)
    service.want("browse.wall", wanted)
    qtbot.waitUntil(lambda: len(service.seen) == 4, timeout=20_000)
    assert service.seen == wanted * 2, "all previews come first"
    generator = service.rendering.loaded.generator
    for recipe in wanted:
        whole = picture_of(render_recipe(Renderer(generator), recipe).volume, generator)
        assert np.array_equal(pixels(service.image(recipe)), pixels(whole))
    qtbot.wait(100)
    assert len(service.seen) == 4, "and then there is peace"


def test_the_picture_of_the_main_view_is_not_rendered_again(qtbot, service):
    service.want("history", brains(7))
    service.session.change(brains(7)[0])
    qtbot.waitUntil(lambda: not service.rendering.busy, timeout=20_000)
    qtbot.waitUntil(lambda: brains(7)[0] in service._sharp, timeout=20_000)
    generator = service.rendering.loaded.generator
    whole = picture_of(render_recipe(Renderer(generator), brains(7)[0]).volume, generator)
    assert np.array_equal(pixels(service.image(brains(7)[0])), pixels(whole))


def test_who_asks_last_comes_first_and_nothing_is_made_twice(qtbot, service):
    service.want("mix", brains(1, 2))
    service.want("browse.wall", brains(2, 3))
    qtbot.waitUntil(lambda: len(service.seen) == 3, timeout=20_000)
    assert service.seen == brains(2, 3, 1)
    service.want("history", brains(1, 4))
    qtbot.waitUntil(lambda: len(service.seen) == 4, timeout=20_000)
    assert service.seen[-1:] == brains(4)


def test_what_is_not_wanted_any_more_is_not_made(qtbot, service):
    service.want("mix", brains(*range(50)))
    service.want("browse.wall", brains(100))
    service.drop("mix")
    qtbot.waitUntil(lambda: brains(100)[0] in service.seen, timeout=20_000)
    qtbot.waitUntil(lambda: service._order is None, timeout=20_000)
    assert len(service.seen) <= 2


def test_the_cache_keeps_what_was_used_last(qtbot, service, monkeypatch):
    monkeypatch.setattr(service._images, "most", 3)
    first, *others = brains(0, 1, 2, 3)
    service.want("a", [first, *others[:2]])
    qtbot.waitUntil(lambda: len(service.seen) == 3, timeout=20_000)
    assert service.image(first) is not None  # used again, so it outlives number 1
    service.want("a", others[2:])
    qtbot.waitUntil(lambda: len(service.seen) == 4, timeout=20_000)
    assert [service.image(r) is not None for r in (first, *others)] == [True, False, True, True]


def test_nothing_is_drawn_while_the_main_view_draws(qtbot, service, monkeypatch):
    gate = threading.Event()
    renders = service.rendering.renders
    function = renders._function
    monkeypatch.setattr(renders, "_function", lambda request: gate.wait(20) and function(request))
    service.session.change(brains(7)[0])
    service.want("browse.wall", brains(1))
    assert service.rendering.busy
    qtbot.wait(3 * thumbnails.REST_MS)
    assert service.seen == []
    gate.set()
    qtbot.waitUntil(lambda: service.seen == brains(1), timeout=20_000)


def test_a_picture_in_flight_gives_way_and_is_made_later(qtbot, service, monkeypatch):
    started, stopped = threading.Event(), []
    make = service._work._function

    def slow(order):
        if not started.is_set():
            started.set()
            stopped.append(order.stop.wait(20))
        return make(order)

    monkeypatch.setattr(service._work, "_function", slow)
    service.want("browse.wall", brains(1))
    qtbot.waitUntil(started.is_set, timeout=20_000)
    service.session.change(brains(9)[0], live=True)
    qtbot.waitUntil(lambda: service.seen == brains(1), timeout=20_000)
    assert stopped == [True]


def test_a_recipe_that_cannot_be_drawn_is_crossed_out_once(qtbot, service):
    lost = Recipe(Source("latent", path="/nowhere/lost.safetensors"))
    service.want("history", [lost, *brains(5)])
    qtbot.waitUntil(lambda: len(service.seen) == 2, timeout=20_000)
    assert service.seen == [lost, *brains(5)]
    assert np.array_equal(pixels(service.image(lost)), pixels(crossed_out()))


def test_what_a_scan_is_missing_for_waits_and_is_tried_again(qtbot, service, monkeypatch):
    """After a session the picture of an edited scan is made once that scan is read and aligned."""
    (edited,) = brains(4)
    awaited, drawn = {edited}, service._work._function

    def unaligned(order):
        raise ValueError("The scan is not aligned yet.")

    monkeypatch.setattr(service.session, "awaited", lambda one: one if one in awaited else None)
    service.want("history", [edited, *brains(5)])
    qtbot.waitUntil(lambda: service.seen == brains(5), timeout=20_000)
    assert service.image(edited) is None
    monkeypatch.setattr(service._work, "_function", unaligned)
    awaited.clear()
    service.session.caseChanged.emit()
    qtbot.waitUntil(lambda: service.seen == [*brains(5), edited], timeout=20_000)
    assert np.array_equal(pixels(service.image(edited)), pixels(crossed_out()))
    monkeypatch.setattr(service._work, "_function", drawn)
    service.session.caseChanged.emit()
    qtbot.waitUntil(lambda: len(service.seen) == 3, timeout=20_000)
    assert not np.array_equal(pixels(service.image(edited)), pixels(crossed_out()))


def test_another_frame_forgets_the_pictures_and_makes_them_anew(qtbot, service):
    service.want("browse.wall", brains(1))
    qtbot.waitUntil(lambda: len(service.seen) == 1, timeout=20_000)
    before = pixels(service.image(brains(1)[0]))
    loaded = place(service.rendering.loaded, Frame("LAS", (8.0, 8.0, 8.0)))
    service.rendering.place(loaded)
    service.session.place(loaded.generator)
    assert service.image(brains(1)[0]) is None
    qtbot.waitUntil(lambda: len(service.seen) == 2, timeout=20_000)
    assert not np.array_equal(pixels(service.image(brains(1)[0])), before)


def test_shutdown_leaves_no_timer_and_no_thread(qtbot, service):
    service.want("browse.wall", brains(*range(30)))
    end_work(service)
    service.session.change(brains(8)[0])
    assert not service._rest.isActive()
    qtbot.waitUntil(lambda: not service.rendering.busy, timeout=20_000)
    seen = len(service.seen)
    qtbot.wait(2 * thumbnails.REST_MS)
    assert len(service.seen) == seen


def test_other_threads_keep_their_cores(service, qtbot, two_threads):
    import torch

    before = torch.get_num_threads()
    service.want("browse.wall", brains(1))
    qtbot.waitUntil(lambda: len(service.seen) == 1, timeout=20_000)
    after: list[int] = []
    thread = threading.Thread(target=lambda: after.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *after] == [before, before]


def test_the_picture_is_radiological_and_upright(tiny_generator):
    volume = np.zeros(tiny_generator.shape, np.float32)
    x, y, z = volume.shape
    volume[3:-3, 3:-3, 3:-3] = 0.3
    volume[x - 6 : x - 3, y - 8 : y - 3, z // 2] = 1.0  # right, anterior
    volume[3:6, y // 2, z - 8 : z - 3] = 1.0  # left, superior
    shown = pixels(picture_of(volume, tiny_generator))
    half = SIDE * RATIO // 2
    bright = np.argwhere(shown > 200)
    axial = bright[(bright[:, 0] < half // 2) & (bright[:, 1] < half // 2)]
    coronal = bright[(bright[:, 0] > half // 2) & (bright[:, 1] > 3 * half // 2)]
    assert len(axial), "right and anterior are not at the upper left of the axial slice"
    assert len(coronal), "left is not on the right of the coronal slice"
    assert len(axial) + len(coronal) == len(bright)


def test_coarse_and_fine_volumes_give_about_the_same_picture(tiny_generator):
    def ball(shape):
        index = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
        return np.clip(1.2 - np.sqrt(sum(i**2 for i in index)), 0, 1).astype(np.float32)

    fine = pixels(picture_of(ball((40, 56, 48)), tiny_generator))
    coarse = pixels(picture_of(ball((20, 28, 24)), tiny_generator))
    assert fine.max() > 200
    assert np.abs(fine - coarse).mean() < 8


@pytest.mark.parametrize(("side", "ratio"), [(64, 1.0), (96, 1.5), (128, 2.0)])
def test_scaled_fits_the_screen(qtbot, side, ratio):
    pixmap = scaled(crossed_out(), side, ratio)
    assert pixmap.width() == round(side * ratio)
    assert pixmap.deviceIndependentSize().width() == side
