"""Too little memory is said in a sentence, status 2, and nothing of the result is left."""

import os
import subprocess
import sys

import numpy as np
import pytest

from stylegan3d.base import ModelError
from stylegan3d.memory import is_out_of_memory
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.renderer import Renderer

TORCH = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError(TORCH), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("could not create a primitive"), True),
        (ImportError("a.so: failed to map segment from shared object"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(28, "No space left on device"), False),
        (ValueError("not enough memory"), False),
        (None, False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_sentence_that_hides_it_does_not():
    error = ModelError("The model is damaged; copy it again.")
    error.__cause__ = RuntimeError(TORCH)
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError(TORCH), RuntimeError("could not create a primitive")]
)
@pytest.mark.parametrize("verb", ["generate", "project"])
def test_a_verb_without_memory_ends_with_a_sentence(
    run, model, tmp_path, monkeypatch, error, verb, listing
):
    out = tmp_path / "out"
    words = ["generate", "--seeds", "3"]
    if verb == "project":
        assert run("generate", "--seeds", "1", "--model", model, "--out", tmp_path).status == 0
        (scan,) = tmp_path.glob("*.nii.gz")
        words = ["project", scan, "--skull", "keep", "--pose", "keep", "--steps", "2"]

    def full(*_, **__):
        raise error

    aligning, drawing = (
        "stylegan3d.scans.scan.Scan.align",
        "stylegan3d.render.renderer.Renderer.render",
    )
    target = aligning if verb == "project" else drawing
    monkeypatch.setattr(target, full)
    told = run(*words, "--model", model, "--out", out)
    assert told.status == 2
    assert told.err.startswith("stylegan3d: there was not enough memory")
    assert told.err.count("\n") == 1
    assert listing(out) == []


def test_a_damaged_model_is_not_blamed_for_it(run, model, monkeypatch, tmp_path):
    from stylegan3d.checkpoints import folder

    def full(_):
        raise RuntimeError("unable to mmap 33 bytes: Cannot allocate memory (12)")

    monkeypatch.setattr(folder, "load_file", full)
    told = run("generate", "--seeds", "1", "--model", model, "--out", tmp_path / "out")
    assert told.status == 2
    assert "not enough memory" in told.err
    assert "damaged" not in told.err


def test_what_the_renderer_remembers_makes_way(tiny_generator, monkeypatch):
    """Layers are kept for the next picture only as long as there is memory for this one."""
    renderer = Renderer(tiny_generator)
    w = Recipe().latent(tiny_generator)
    expected = renderer.render(w).volume
    assert renderer.memo.size > 0
    made, sizes = renderer._made, []

    def cramped(*args):
        sizes.append(renderer.memo.size)
        if renderer.memo.size:
            raise RuntimeError(TORCH)
        return made(*args)

    monkeypatch.setattr(renderer, "_made", cramped)
    assert np.array_equal(renderer.render(w).volume, expected)
    assert len(sizes) == 2


LIMITED = """
import resource, sys
import torch
torch.set_num_threads(1)
from stylegan3d import cli
from stylegan3d.render.renderer import Renderer
original = Renderer.render

def limited(self, *args, **options):
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + 20 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    return original(self, *args, **options)

Renderer.render = limited
cli.main(sys.argv[1:])
"""


@pytest.mark.soak
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs the limits of Linux")
def test_a_real_limit_of_the_system_ends_in_a_sentence(tmp_path):
    """The bundled generator, with 20 MiB left when it begins to draw."""
    out = tmp_path / "out"
    words = [sys.executable, "-c", LIMITED, "generate", "--seeds", "1", "--out", str(out)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 2, told.stderr
    assert told.stderr.startswith("stylegan3d: there was not enough memory")
    assert not out.exists()
