"""Whatever refuses a write, at any step of it: what was there stays, nothing half is left.

The first test shows that every writer goes through `storage.files`; the others make that fail.
"""

import ast
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan3d.base import OutputError
from stylegan3d.checkpoints.folder import write_folder
from stylegan3d.cohort.run import PROJECTIONS, CohortJob, Item, write_record, write_table
from stylegan3d.dataset.pack import write_pack
from stylegan3d.directions.catalogue import DirectionNotes, write_notes
from stylegan3d.evaluation.material import Store
from stylegan3d.evaluation.privacy_index import PrivacyIndex, write_index
from stylegan3d.geometry.space import Space
from stylegan3d.outputs.results import save_rendered, volume_name
from stylegan3d.recipe.latents import Latent, save_directions, save_latent
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.recipes import render_recipe
from stylegan3d.render.renderer import Renderer
from stylegan3d.segmentation.inference import write_model
from stylegan3d.segmentation.network import TissueNetwork
from stylegan3d.session.file import SessionState
from stylegan3d.session.store import SessionFolder
from stylegan3d.storage import files
from stylegan3d.storage.files import (
    atomic_file,
    atomic_write_bytes,
    check_output,
    hidden_name,
    host_tag,
    sha256_of,
    sweep,
    temporary_folder,
)
from stylegan3d.training.run import save_checkpoint

ROOT = Path(__file__).parents[2]
#: Methods that write to a file by its path, and functions of modules that do.
METHODS = {"write_text", "write_bytes", "to_filename", "savefig"}
FUNCTIONS = {
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move"},
    "tempfile": {"mkstemp", "NamedTemporaryFile"},
    "format": {"open_memmap"},
    "np": {"save", "savez", "savez_compressed", "savetxt"},
    "torch": {"save"},
    "nib": {"save"},
}
#: What `save` of numpy and torch may be given: never a path.
STREAMS = {"buffer", "content", "file", "stream"}
ALLOWED = {
    (
        "src/stylegan3d/storage/files.py",
        "copy2",
    ): "keeps the old file, where there are no hard links",
    ("src/stylegan3d/storage/files.py", "open"): "is the writer; a lock is only a name",
    ("src/stylegan3d/cohort/run.py", "open"): "a lock",
    ("src/stylegan3d/session/store.py", "open"): "a lock",
    ("src/stylegan3d/training/run.py", "open"): "the log: a line is added in one call",
    ("src/stylegan3d/outputs/films.py", "open"): "what ffmpeg says, in a temporary folder",
}


def writes_in(path: Path) -> set[str]:
    """Names of calls in a file that write to a path."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        texts += [k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)]
        modes = [t for t in texts if isinstance(t, str) and set(t) <= set("rwaxbt+")]
        if name == "open" and any(set(mode) & set("wax+") for mode in modes):
            found.add(name)
        if name in METHODS or (
            name in FUNCTIONS.get(owner, ())
            and not STREAMS & {getattr(a, "id", "") for a in node.args}
        ):
            found.add(name)
    return found


def test_every_writer_goes_through_the_one_that_is_whole_or_not_there():
    found = {
        (str(path.relative_to(ROOT)), name)
        for folder in ("src", "napari_stylegan3d")
        for path in (ROOT / folder).rglob("*.py")
        for name in writes_in(path)
    }
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    assert not any("import save_file" in text for text in texts), "of safetensors"
    assert found - set(ALLOWED) == set()
    assert set(ALLOWED) <= found, "what is gone needs no exception"


@pytest.fixture(scope="module")
def writers(tiny_generator, tmp_path_factory):
    """What writes, by name: called with a folder, it replaces what it wrote there before."""
    generator, recipe = tiny_generator, Recipe()
    rendered = render_recipe(Renderer(generator), recipe)
    w = recipe.latent(generator)
    rows = np.ones((2, 448), np.float16)
    index = PrivacyIndex(rows, rows, np.ones(3, np.float32), generator.space, 2.0)
    item = Item("sub-01", tmp_path_factory.mktemp("scans") / "sub-01.nii.gz", Path("sub-01"))
    network = TissueNetwork((8, 8))
    grid = Space((4, 4, 4), np.eye(4))
    tensors = {"w_avg": generator.w_avg}
    notes = DirectionNotes()
    people = [{"name": "a", "split": "train"}]

    def volume_of(_row):
        return np.ones(grid.shape, np.uint8)

    def session(folder):
        mine = SessionFolder(folder)
        mine.path = folder / "20260101-000000-0"
        mine.write(SessionState((recipe,)))

    def store(folder):
        for path in folder.glob("figures-*"):
            path.write_text("damaged")
        Store(folder).result("figures", "key", lambda: {"fid": 1.0})

    def volume(folder):
        name = folder / volume_name(recipe)
        save_rendered(name, rendered, recipe, generator, overwrite=True)

    return {
        "volume": volume,
        "latent": lambda f: save_latent(f / "a.safetensors", Latent.of(generator, w), True),
        "directions": lambda f: save_directions(f / "a.safetensors", generator.directions, True),
        "notes": lambda f: write_notes(f / "notes.json", "model", notes),
        "session": session,
        "model": lambda f: write_folder(f / "m", generator.card, tensors, overwrite=True),
        "tissue network": lambda f: write_model(f, network, {"name": "n"}, overwrite=True),
        "privacy index": lambda f: write_index(f, index, overwrite=True),
        "cohort record": lambda f: write_record(CohortJob(print, {}, f), item, {}, [], {}),
        "cohort table": lambda f: write_table(f, PROJECTIONS, [{"name": "sub-01"}]),
        "evaluation": store,
        "checkpoint": lambda f: save_checkpoint(f, {"a": torch.ones(1000)}),
        "dataset": lambda f: write_pack(f, people, volume_of, grid, {}),
    }


WRITERS = (
    "volume", "latent", "directions", "notes", "session", "model", "tissue network",
    "privacy index", "cohort record", "cohort table", "evaluation", "checkpoint", "dataset",
)  # fmt: skip


def everything(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Fault:
    """Lets a function of the system fail from its `call`-th call on."""

    def __init__(self, monkeypatch, name: str, call: int, number: int) -> None:
        self.calls, original = 0, getattr(os, name)

        def failing(*args, **kwargs):
            self.calls += 1
            if self.calls >= call:
                raise OSError(number, os.strerror(number))
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, failing)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("function", "number", "says"),
    [
        ("fsync", errno.ENOSPC, "disk is full"),
        ("fsync", errno.EIO, "could not be written"),
        ("replace", errno.EROFS, "is read-only"),
        ("replace", errno.EACCES, "No permission"),
    ],
)
@pytest.mark.parametrize("call", [1, 2])
def test_a_refused_write_leaves_what_was_there(
    writers, name, function, number, says, call, tmp_path, monkeypatch
):
    write = writers[name]
    write(tmp_path)
    if name == "checkpoint":
        write(tmp_path)  # the one before is there, too
    before = everything(tmp_path)
    if name == "evaluation":
        before = dict.fromkeys(before, b"damaged")
    with monkeypatch.context() as patch:
        fault = Fault(patch, function, call, number)
        try:
            write(tmp_path)
            refused = ""
        except OutputError as error:
            refused = str(error)
    if fault.calls < call:
        assert not refused
        return
    assert says in refused, "it went on as if nothing had happened"
    assert "\n" not in refused
    after = everything(tmp_path)
    assert after == before
    write(tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_of_a_first_write_that_fails_nothing_is_left(writers, name, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Fault(patch, "fsync", 1, errno.ENOSPC)
        with pytest.raises(OutputError, match="disk is full"):
            writers[name](tmp_path)
    assert everything(tmp_path) == {}


def test_a_folder_that_vanishes_while_a_file_is_written_is_told(tmp_path, monkeypatch):
    """As of a drive that is unplugged; the next write to another folder goes well."""
    drive, fsync = tmp_path / "drive", os.fsync

    def unplugged(descriptor):
        shutil.rmtree(drive)
        fsync(descriptor)

    drive.mkdir()
    for write in (
        lambda: atomic_write_bytes(drive / "a.json", b"1", overwrite=True),
        lambda: save_checkpoint(drive, {"a": 1}),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", unplugged)
            with pytest.raises(OutputError, match=r"folder of .* is gone .its drive"):
                write()
        assert list(tmp_path.iterdir()) == []
    atomic_write_bytes(tmp_path / "b.json", b"1")


LIMITED = """
import resource, signal, sys
from pathlib import Path
import torch
from stylegan3d.training.run import load_checkpoint, save_checkpoint
from stylegan3d.base import OutputError
from stylegan3d.storage.files import atomic_write_bytes

folder = Path(sys.argv[1])
save_checkpoint(folder, {"a": torch.ones(10)})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (
    lambda: save_checkpoint(folder, {"a": torch.ones(1_000_000)}),
    lambda: atomic_write_bytes(folder / "volume.nii.gz", bytes(1_000_000)),
):
    try:
        write()
    except OutputError as error:
        print(error)
data, note = load_checkpoint(folder, torch.device("cpu"), dict)
print(len(data["a"]), repr(note), sorted(p.name for p in folder.iterdir()))
"""


@pytest.mark.skipif(os.name == "nt", reason="has no such limit")
def test_a_real_limit_on_the_size_of_files_ends_in_a_sentence(tmp_path):
    """The system itself refuses in the middle of a file, with torch's own writer at work."""
    words = [sys.executable, "-c", LIMITED, str(tmp_path)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    first, second, last = run.stdout.splitlines()
    assert "checkpoint.pt exceeds the quota there" in first
    assert "volume.nii.gz exceeds the quota there" in second
    assert last == "10 '' ['checkpoint.pt']"


FULL = """
import sys
from pathlib import Path
import numpy as np
import torch
from stylegan3d.training.run import load_checkpoint, save_checkpoint
from stylegan3d.base import OutputError
from stylegan3d.geometry.space import Space
from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.storage.volumes import write_volume

folder, draw = Path(sys.argv[1]), np.random.default_rng(0)

def volume(size):
    data = draw.normal(size=(size, size, size))
    path = folder / "a.nii.gz"
    write_volume(path, data, np.eye(4), description="", sidecar={}, overwrite=True)

def pack(size):
    shape, rows = (size, size, size), [{"name": "a", "split": "train"}]
    made = draw.integers(0, 255, shape).astype(np.uint8)
    write_pack(folder / "pack", rows, lambda row: made, Space(shape, np.eye(4)), {})

writers = (volume, pack, lambda size: save_checkpoint(folder, {"a": torch.ones(size**3)}))
for write in writers:
    write(8)
before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
for write in writers:
    try:
        write(100)
        print("written")
    except OutputError as error:
        print(error)
assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
_, note = load_checkpoint(folder, torch.device("cpu"), dict)
print(len(load_pack(folder / "pack").volumes), note)
"""


def can_mount() -> bool:
    """Whether this user may mount a small disk that nobody else sees."""
    words = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"]
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.soak
@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a small disk")
def test_a_disk_that_is_really_full_costs_nothing(tmp_path):
    """A disk of 600 kB: volumes, a dataset and a checkpoint that do not fit beside the old."""
    script = 'mount -t tmpfs -o size=600k none "$3" && exec "$1" -c "$2" "$3"'
    words = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, FULL, str(tmp_path)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    *said, last = run.stdout.splitlines()
    assert len(said) == 3
    assert all("The disk is full" in line and "make room" in line for line in said)
    assert last.strip() == "1"


HALF = """
import sys, time
from pathlib import Path
from stylegan3d.storage import files
def stuck(*_):
    print("half", flush=True)
    time.sleep(60)
files.os.fsync = stuck
files.atomic_write_bytes(Path(sys.argv[1]), bytes(1000), overwrite=True)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    words = [sys.executable, "-c", HALF, str(target)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "half\n"
        (part,) = (path for path in tmp_path.iterdir() if path != target)
        os.utime(part, (0, 0))  # as old as it looks once the clock was set forward
        assert sweep(tmp_path) == 0, "it is still at work"
        writer.kill()
    assert len(list(tmp_path.iterdir())) == 2
    assert target.read_bytes() == b"old"
    atomic_write_bytes(tmp_path / "b.bin", b"1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "b.bin"]


def test_files_of_others_are_not_swept_away(tmp_path):
    """Of this process, of another machine lately, and names that only look alike."""
    mine = hidden_name(tmp_path / "a", "part")
    other = tmp_path / f".a.{'0' * 6}-1-{'0' * 8}-{'0' * 8}.part"
    plain = tmp_path / ".a.part"
    for path in (mine, other, plain):
        path.touch()
    assert host_tag() != "0" * 6
    assert sweep(tmp_path) == 0
    assert {mine, other, plain} == set(tmp_path.iterdir())


def test_of_another_machine_what_is_a_day_old_is_removed(tmp_path, monkeypatch):
    other = tmp_path / f".a.{'0' * 6}-1-{'0' * 8}-{'0' * 8}.part"
    other.touch()
    for step in (-(10**8), 10**8):  # the clock is set
        monkeypatch.setattr(time, "time", lambda step=step: step)
        assert sweep(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == [other.name]
    monkeypatch.setattr(files, "DAY_S", -1)
    assert sweep(tmp_path) == 1


def test_a_temporary_folder_goes_away_and_takes_those_of_killed_processes_along(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"stylegan3d-{host_tag()}-{2**22 + 1}-{'0' * 8}-{'0' * 8}"
    (left / "inside").mkdir(parents=True)
    other = tmp_path / "stylegan3d-of-somebody"
    other.mkdir()
    with temporary_folder() as folder:
        (folder / "film.mp4").write_bytes(b"1")
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, other.name}
    assert list(tmp_path.iterdir()) == [other]


def test_a_file_written_piece_by_piece_is_whole_or_not_there(tmp_path):
    path, previous = tmp_path / "a", tmp_path / "before"
    for number in range(3):
        with atomic_file(path, previous=previous) as file:
            file.write(b"%d" % number)
            assert not path.exists() or path.read_bytes() == b"%d" % (number - 1)
    assert (path.read_bytes(), previous.read_bytes()) == (b"2", b"1")

    def interrupted():
        with atomic_file(path, previous=previous) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (path.read_bytes(), previous.read_bytes()) == (b"2", b"1")
    assert len(list(tmp_path.iterdir())) == 2


def test_two_results_of_one_name_are_refused(tmp_path):
    with pytest.raises(OutputError, match="Two results would be called"):
        check_output([tmp_path / "a.nii.gz", tmp_path / "a.nii.gz"])


def test_a_pair_of_files_is_known_by_both(tmp_path):
    header, image = tmp_path / "a.hdr", tmp_path / "a.img"
    header.write_text("header")
    image.write_text("one")
    before = sha256_of(header)
    image.write_text("another")
    assert sha256_of(header) != before
    assert sha256_of(header) == sha256_of(image)
