"""Sessions on the disk: whole or not there, of one window, and refused where they are damaged."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest

from stylegan3d.base import SessionError
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Edit, MadeWith, Recipe, Source, Truncation
from stylegan3d.scans.scan import StepCache
from stylegan3d.session.file import (
    FILE,
    SUFFIX,
    Favourite,
    SessionState,
    decode,
    encode,
    pack,
    read_session,
    unpack,
)
from stylegan3d.session.store import (
    OWNER,
    UNLOCKED,
    Kept,
    SessionFolder,
    kept_sessions,
    mark_closed,
    tidy,
)
from stylegan3d.storage import files
from stylegan3d.storage.files import NoLocks, atomic_write_bytes, temporary_folder

MODEL = MadeWith("a" * 64, "tiny")


@pytest.fixture
def latent(tmp_path, tiny_generator):
    """A latent in a session's folder, as a source."""
    folder = tmp_path / "session"
    folder.mkdir()
    path = folder / "sub-01_desc-projected_latent.safetensors"
    w = np.ones((tiny_generator.num_layers, tiny_generator.w_dim), np.float32)
    sha256 = save_latent(path, Latent.of(tiny_generator, w))
    return Source("projected", path=str(path), sha256=sha256)


def state_with(*recipes, **changes):
    known = {
        "model": MODEL,
        "model_path": "/models/mine",
        "frame": "LIA:2",
        "favourites": {MODEL.sha256: (Favourite(Recipe(Source("seed", 8)), "größer"),)},
        "scan": "/scans/sub-01_T1w.nii.gz",
        "view": {"tab": "Mix", "point": [1.0, -2.5, 3.0]},
        "saved": "2026-01-01T10:00:00+00:00",
        "frames": {"a": (Recipe(Source("seed", 8)), Recipe(Source("seed", 9)))},
    }
    states = recipes or (Recipe(), Recipe(Source("seed", 3), edits=(Edit("PC 1", 0.1 + 0.2),)))
    return SessionState(states, **{**known, **changes})


def test_a_session_comes_back_as_it_was(tmp_path, latent):
    state = state_with(Recipe(), Recipe(latent, Truncation(1 / 3)), Recipe(Source("seed", 9)))
    folder = Path(latent.path).parent
    data = encode(state, folder)
    assert str(folder) not in data.decode()
    assert decode(data, folder, "it") == state


def test_one_seed_of_two_models_keeps_both(tmp_path):
    models = [MadeWith(letter * 64, letter) for letter in "ab"]
    state = state_with(*(Recipe(Source("seed", 5), model=model) for model in models))
    read = decode(encode(state, tmp_path), tmp_path, "it")
    assert [recipe.model for recipe in read.states] == models


def test_latents_follow_a_folder_that_is_renamed(tmp_path, latent):
    folder = Path(latent.path).parent
    data = encode(state_with(Recipe(latent)), folder)
    moved = folder.rename(tmp_path / "moved")
    source = decode(data, moved, "it").states[0].source
    assert Path(source.path) == moved / Path(latent.path).name


def test_a_session_file_holds_its_latents(tmp_path, latent, tiny_generator):
    folder = Path(latent.path).parent
    other = tmp_path / "elsewhere"
    other.mkdir()
    twin = other / f".{Path(latent.path).stem}.SAFETENSORS"  # as some programs name it
    w = np.zeros((tiny_generator.num_layers, tiny_generator.w_dim), np.float32)
    sha256 = save_latent(other / "x.safetensors", Latent.of(tiny_generator, w))
    (other / "x.safetensors").rename(twin)
    state = state_with(
        Recipe(latent),
        Recipe(Source("latent", path=str(twin), sha256=sha256)),
        Recipe(),
        frames={"a": (Recipe(latent), Recipe()), "b": (Recipe(),)},
        view={"tab": "Mix", "norms": "/clinic/jane/ours.csv"},
    )
    file = tmp_path / f"handed-on{SUFFIX}"
    file.write_bytes(pack(state, folder))
    assert b"jane" not in zipfile.ZipFile(file).read("session.json")
    for path in (Path(latent.path), twin):
        path.unlink()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    read, files = unpack(file, fresh)
    for path, data in files.items():
        assert path.parent == fresh
        path.write_bytes(data)
    assert {Path(latent.path).name} < {path.name for path in files}
    first, second = (recipe.latent(tiny_generator) for recipe in read.states[:2])
    assert float(first.mean()) == 1
    assert float(second.mean()) == 0
    assert read.favourites == state.favourites
    assert float(read.frames["a"][0].latent(tiny_generator).mean()) == 1
    assert read.frames["a"][1:] == state.frames["a"][1:]
    assert read.frames["b"] == state.frames["b"]
    assert read.view == {"tab": "Mix", "norms": str(tmp_path / "ours.csv")}, "beside the file"


def test_a_missing_latent_is_told_when_a_session_is_saved(tmp_path, latent):
    Path(latent.path).unlink()
    with pytest.raises(SessionError, match="does not exist"):
        pack(state_with(Recipe(latent)), tmp_path)


def broken(**changes):
    plain = json.loads(encode(state_with(), Path("/x")))
    plain.update(changes)
    return json.dumps({key: value for key, value in plain.items() if value != "GONE"}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 200_000,
        encode(state_with(), Path("/x"))[:-20],
        broken(format="other"),
        broken(version=3),
        broken(states="GONE"),
        broken(states=[]),
        broken(states=[{"source": {"seed": -1}}]),
        broken(states=[3]),
        broken(states=7),
        broken(favourites=[{}]),
        broken(favourites=[{"of": 1, "note": "", "recipe": {"source": {"seed": 1}}}]),
        broken(favourites=None),
        broken(model={"name": "x"}),
        broken(model={"sha256": "x", "evil": 1}),
        broken(model_path=5),
        broken(view=[]),
        broken(view={"zoom": 1}).replace(b'"zoom": 1', b'"zoom": 1e999'),
        broken(scan={}),
        broken(saved=None),
    ],
)
def test_a_damaged_session_is_refused_in_one_sentence(tmp_path, data):
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(SessionError) as caught:
        read_session(tmp_path)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def archive(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return buffer.getvalue()


SESSION = encode(state_with(), Path("/x"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 and no more",
        b"no zip at all",
        archive(),
        archive(other_dot_json=b"{}"),
        archive(session_dot_json=b"{}"),
        archive(session_dot_json=SESSION, _dot__dot___evil_dot_safetensors=b"x"),
        archive(session_dot_json=SESSION, __etc__x_dot_safetensors=b"x"),
        archive(session_dot_json=SESSION, run_dot_py=b"x"),
        archive(session_dot_json=SESSION, a__b_dot_safetensors=b"x"),
        archive(session_dot_json=SESSION)[:-30],
        archive(session_dot_json=SESSION).replace(b"PK\x03\x04", b"PK\x03\x05"),
    ],
)
def test_a_hostile_session_file_is_refused_in_one_sentence(tmp_path, data):
    file = tmp_path / f"it{SUFFIX}"
    file.write_bytes(data)
    with pytest.raises(SessionError) as caught:
        unpack(file, tmp_path / "in")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_file_that_would_unpack_to_something_huge_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("stylegan3d.session.file.LARGEST_FILE", 10_000)
    file = tmp_path / f"it{SUFFIX}"
    file.write_bytes(archive(session_dot_json=SESSION, a_dot_safetensors=bytes(20_000)))
    assert file.stat().st_size < 10_000
    with pytest.raises(SessionError, match="too large"):
        unpack(file, tmp_path)


def test_writing_leaves_the_session_before_or_the_one_after(tmp_path):
    mine = SessionFolder(tmp_path)
    assert not mine.exists
    mine.write(state_with(Recipe()))
    mine.write(state_with(Recipe(), Recipe(Source("seed", 4))))
    assert read_session(mine.path).states[-1].source.seed == 4
    assert sorted(path.name for path in mine.path.iterdir()) == [OWNER, FILE]


def test_a_session_belongs_to_one_window_until_it_is_left(tmp_path):
    mine, other = SessionFolder(tmp_path), SessionFolder(tmp_path)
    mine.write(state_with())
    other.write(state_with())
    assert mine.path != other.path
    assert kept_sessions(tmp_path) == []
    left = mine.path
    mine.leave()
    assert [kept.folder for kept in kept_sessions(tmp_path)] == [left]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_sessions_caches_and_temporary_folders_are_for_the_user_alone(tmp_path):
    cache = tmp_path / "cache"
    before = os.umask(0o022)
    try:
        cache.mkdir()
        StepCache(cache).put("pose", turn=np.eye(4))
        mine = SessionFolder(tmp_path / "sessions")
        mine.write(state_with())
        with temporary_folder() as passing:
            atomic_write_bytes(passing / "below" / "a", b"1")
            made = [cache, mine.base, passing]
            made += [path for folder in made for path in folder.rglob("*")]
            modes = {path.name: path.stat().st_mode & 0o777 for path in made if path.is_file()}
            assert set(modes) == {"pose.step.z", FILE, OWNER, "a"}
            assert set(modes.values()) == {0o600}
            assert {path.stat().st_mode & 0o777 for path in (*made[:3], mine.path)} == {0o700}
        atomic_write_bytes(tmp_path / "saved", b"1")
        assert (tmp_path / "saved").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is noted once and for all")
def test_a_clock_that_is_set_takes_no_session_away(tmp_path, monkeypatch):
    """On Linux psutil counts when a process began from the clock as it is now."""
    mine = SessionFolder(tmp_path)
    mine.write(state_with())
    began = psutil.Process().create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began + 3600)
    assert kept_sessions(tmp_path) == []


def test_a_number_of_a_process_that_is_used_again_is_no_owner(tmp_path):
    mine = SessionFolder(tmp_path)
    mine.write(state_with())
    host, pid, began, rest = (mine.path / OWNER).read_text().split("-")
    mine._let_go()  # as a file system without locks would have it
    (mine.path / OWNER).write_text("-".join([host, pid, began, rest + UNLOCKED]))
    assert kept_sessions(tmp_path) == []
    (mine.path / OWNER).write_text("-".join([host, pid, "0" * 8, rest + UNLOCKED]))
    assert len(kept_sessions(tmp_path)) == 1


def test_the_lock_says_whose_a_session_is_whatever_the_clock_says(tmp_path, monkeypatch):
    mine = SessionFolder(tmp_path)
    mine.write(state_with())
    now = time.time()
    for step in (-(10**8), 10**8):
        monkeypatch.setattr(time, "time", lambda step=step: now + step)
        tidy(tmp_path, most=0)
        assert kept_sessions(tmp_path) == []
        assert mine.exists
    mine._let_go()  # the process ended, and its number is used again
    assert [kept.folder for kept in kept_sessions(tmp_path)] == [mine.path]


def test_where_there_are_no_locks_the_process_that_is_named_counts(tmp_path, monkeypatch):
    def none(_file):
        raise NoLocks

    monkeypatch.setattr(files, "try_lock", none)
    mine = SessionFolder(tmp_path)
    mine.write(state_with())
    assert kept_sessions(tmp_path) == []
    host, _, *rest = (mine.path / OWNER).read_text().split("-")
    (mine.path / OWNER).write_text("-".join([host, f"{2**22 + 1}", *rest]))
    assert len(kept_sessions(tmp_path)) == 1


def test_of_two_windows_that_want_a_session_the_quicker_gets_it(tmp_path):
    first = SessionFolder(tmp_path)
    first.write(state_with())
    left = first.path
    first.leave()
    one, two = SessionFolder(tmp_path), SessionFolder(tmp_path)
    assert one.take(left).states == state_with().states
    with pytest.raises(SessionError, match="does not exist"):
        two.take(left)
    assert kept_sessions(tmp_path) == []
    one.write(state_with(Recipe(Source("seed", 77))))
    assert read_session(one.path).states[0].source.seed == 77


def test_sessions_are_listed_the_newest_first_and_the_oldest_are_let_go(tmp_path):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for day in range(6):
        folder = SessionFolder(tmp_path)
        saved = (start + timedelta(days=day)).isoformat()
        folder.write(dataclasses.replace(state_with(), saved=saved))
        folder.leave()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / FILE).write_text("{")
    os.utime(tmp_path / "broken", (0, 0))
    (tmp_path / "never-begun").mkdir()
    os.utime(tmp_path / "never-begun", (0, 0))
    (tmp_path / "beginning").mkdir()
    tidy(tmp_path, most=4)
    days = [datetime.fromisoformat(kept.state.saved).day for kept in kept_sessions(tmp_path)]
    assert days == [6, 5, 4, 3]
    assert (tmp_path / "broken").exists(), "a later version may read it"
    assert not (tmp_path / "never-begun").exists()
    assert (tmp_path / "beginning").exists()


def test_what_was_marked_as_closed_stays_marked(tmp_path):
    folder = SessionFolder(tmp_path)
    folder.write(state_with())
    path = folder.path
    folder.leave()
    mark_closed(Kept(path, read_session(path)))
    assert read_session(path).closed
    assert read_session(path).states == state_with().states


WRITER = """
import sys
from pathlib import Path
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.file import SessionState
from stylegan3d.session.store import SessionFolder

folder, states = SessionFolder(Path(sys.argv[1])), []
while True:
    states.append(Recipe(Source("seed", len(states))))
    folder.write(SessionState(tuple(states)).stamped())
    print(len(states), flush=True)
"""


@pytest.mark.parametrize("moment", range(3))
def test_a_process_killed_at_any_moment_leaves_its_last_whole_state(tmp_path, moment):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(20):
        last = int(writer.stdout.readline())
    time.sleep(0.0017 * moment)
    assert kept_sessions(tmp_path) == []  # it is still open in that process
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate()[0].split()
    last = int(rest[-1]) if rest else last
    [kept] = kept_sessions(tmp_path)
    assert not kept.state.closed
    assert len(kept.state.states) in (last, last + 1)
    assert kept.state.states[-1].source.seed == len(kept.state.states) - 1
    assert SessionFolder(tmp_path).take(kept.folder) == kept.state


def test_adding_to_a_long_history_writes_only_what_is_new_anew(tmp_path):
    states = [Recipe(Source("seed", n), edits=(Edit("PC 1", n / 7),)) for n in range(2000)]
    encode(state_with(*states[:-1]), tmp_path)
    calls = []
    original = Recipe.to_json

    def counted(recipe):
        calls.append(recipe)
        return original(recipe)

    Recipe.to_json = counted
    try:
        encode(state_with(*states), tmp_path)
    finally:
        Recipe.to_json = original
    assert len(calls) == 1


def test_a_session_of_another_machine_is_left_to_it_for_a_day(tmp_path, monkeypatch):
    """Home folders may lie on a server: whether its window still runs, nobody here can tell."""
    mine = SessionFolder(tmp_path)
    mine.write(state_with())
    _, pid, *rest = (mine.path / OWNER).read_text().split("-")
    mine._let_go()
    (mine.path / OWNER).write_text("-".join(["0" * 6, pid, *rest]) + UNLOCKED)
    assert kept_sessions(tmp_path) == []
    monkeypatch.setattr(files, "age_s", lambda path, **_: 2 * 86_400.0)
    assert [kept.folder for kept in kept_sessions(tmp_path)] == [mine.path]


TAKER = """
import sys
from pathlib import Path
from stylegan3d.base import SessionError
from stylegan3d.session.store import SessionFolder
sys.stdin.readline()
try:
    mine = SessionFolder(Path(sys.argv[1]))
    mine.take(Path(sys.argv[2]))
    print("mine", flush=True)
    sys.stdin.readline()
except SessionError as error:
    print(error)
"""


def test_of_two_windows_that_take_one_session_one_gets_it(tmp_path):
    ended = SessionFolder(tmp_path)
    ended.write(state_with())
    (ended.path / OWNER).unlink()
    words = [sys.executable, "-c", TAKER, str(tmp_path), str(ended.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    windows = [subprocess.Popen(words, **pipes) for _ in range(3)]
    for window in windows:
        window.stdin.write("go\n")
        window.stdin.flush()
    said = [window.stdout.readline().strip() for window in windows]
    assert kept_sessions(tmp_path) == [], "it is open"
    for window in windows:
        window.communicate("end\n")
    assert sorted(said)[-1] == "mine"
    assert said.count("mine") == 1
    (kept,) = kept_sessions(tmp_path)
    assert kept.state.states == state_with().states
