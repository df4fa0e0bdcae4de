"""Every verb with every kind of broken path: one sentence, status 2, in no time."""

import os
import time
from pathlib import Path

import pytest

VERBS = {
    "generate": lambda path: ("generate", "--recipe", path),
    "generate with a model": lambda path: ("generate", "--seeds", "1", "--model", path),
    "edit": lambda path: ("edit", "--latent", path, "--edit", "PC 1=1"),
    "edit onto a scan": lambda path: ("edit", "--seed", "1", "--edit", "PC 1=1", "--scan", path),
    "directions": lambda path: ("directions", "--values", path),
    "picture": lambda path: ("render", "picture", path),
    "dicom": lambda path: ("render", "dicom", path),
    "dicom of a reference": lambda path: ("render", "dicom", "x.nii.gz", "--reference", path),
    "project": lambda path: ("project", path),
    "segment": lambda path: ("segment", path),
    "paint": lambda path: ("paint", path),
    "prepare": lambda path: ("prepare", path, "--out", "made"),
    "evaluate": lambda path: ("evaluate", path),
    "convert": lambda path: ("model", "convert", path, "--out", "made"),
    "info": lambda path: ("info", path),
}
#: Those that take a model, which is a small one here.
WITH_MODEL = ("generate", "edit", "edit onto a scan", "directions", "picture", "project", "paint")


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Paths that nothing can be read from."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "folder").mkdir()
    (folder / "loop.nii.gz").symlink_to(folder / "loop.nii.gz")
    os.mkfifo(folder / "pipe.json")
    (folder / "null.nii.gz").symlink_to("/dev/zero")
    (folder / "kernel.safetensors").symlink_to("/proc/kmsg")
    (folder / "empty.nii.gz").touch()
    for name in ("holes.nii.gz", "holes.dcm", "holes.json"):
        (folder / name).touch()
        os.truncate(folder / name, 2**36)
    (folder / "noise.safetensors").write_bytes(bytes(range(256)) * 9)
    (folder / "deep.json").write_text("[" * 100_000)
    return ["a\0b.nii.gz", "x" * 5000 + ".json", folder / "missing.nii.gz", *folder.iterdir()]


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="no files of a kernel")
@pytest.mark.parametrize("name", VERBS)
def test_a_broken_path_is_refused_in_a_sentence(name, run, model, broken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slowest, wrong = 0.0, {}
    for path in broken:
        began = time.perf_counter()
        done = run(*VERBS[name](path), *(("--model", model) if name in WITH_MODEL else ()))
        slowest = max(slowest, time.perf_counter() - began)
        told = done.err.strip()
        if done.status != 2 or "unexpected error" in told or "Traceback" in told or not told:
            wrong[str(path)[-40:]] = (done.status, told[-200:])
    assert wrong == {}
    assert slowest < 10
