"""Every path of every verb, broken in every way: one sentence, status 2, in little time."""

import ctypes
import errno
import os
import time
import zlib
from pathlib import Path

import pytest
from phantoms import write_people
from typer.main import get_command

from stylegan3d import cli

#: A cache that cannot be used is done without, with a remark.
OPTIONAL = {"--cache"}
#: Options that take paths among other things.
ALSO = {
    "generate": "--recipe",
    "mix": "--a",
    "directions": "--between",
    "project": "--operator",
    "render picture": "recipes",
    "render film": "recipes",
    "render report": "recipes",
}
#: A bug's own words, and those for a verb that this test gives too little.
WRONG = (
    *("unexpected error", "Traceback", "Missing option", "Missing argument"),
    *("Errno", "codec", "NotFoundError", "DirectoryError", "DecodeError"),
)
#: What a verb is given in place of another option of its own.
INSTEAD = {"--latent": "--seed", "--recipe": "--seeds"}
#: Where results may be written, though nothing can be read there.
WRITABLE, OUTPUTS = ("missing.nii.gz", "folder"), ("--out", "--export", "--save")
#: Scans that are read for a recipe of an edited scan alone.
UNUSED = {(f"render {kind}", "--scan") for kind in ("picture", "film", "report")}
#: Each path of a verb is broken in so many ways less; all of them together in every way.
SHARE = 24


def verbs(group, before=()):
    """Every verb that does something, such as "render film", with its command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


COMMANDS = dict(verbs(get_command(cli.app)))


def paths_of(verb):
    """The options of a verb that take a path, arguments by their names."""
    for option in COMMANDS[verb].params:
        name = option.opts[0]
        is_path = "Path" in str(option.type_descriptor.annotation)
        if (is_path or ALSO.get(verb) == name) and name not in OPTIONAL:
            yield name


CASES = [(verb, option) for verb in COMMANDS for option in paths_of(verb)]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Paths that nothing can be read from, nor written to."""
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
    (folder / "locked.nii.gz").touch(mode=0)
    Path(os.fsdecode(bytes(folder) + b"/\xff\xfe.nii.gz")).write_bytes(b"not UTF-8")
    inside = folder / "empty.nii.gz" / "child.nii.gz"
    missing = ["a\0b.nii.gz", "x" * 5000 + ".json", folder / "missing.nii.gz", inside]
    return [*missing, "/dev/full", *sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def given(model, tiny_generator, tmp_path_factory):
    """What each verb needs besides, by option: small files that can be read."""
    folder = tmp_path_factory.mktemp("given")
    with pytest.raises(SystemExit):
        cli.main(["generate", "--seeds", "1", "--model", str(model), "--out", str(folder)])
    (volume,), (recipe,) = folder.glob("*.nii.gz"), folder.glob("*T1w.json")
    pack, maps, table = folder / "pack", folder / "maps", folder / "groups.tsv"
    write_people(pack, tiny_generator.space, 12)
    maps.mkdir()
    table.write_text("brain\tgroup\n" + "".join(f"{k}\t{'ab'[k // 3]}\n" for k in range(6)))
    made, trained = {"--out": "made"}, {"data": pack, "--out": "made"}
    return {
        "generate": {"--seeds": 1},
        "mix": {"--a": 1, "--b": 2},
        "edit": {"--seed": 1, "--edit": "PC 1=1"},
        "compare": {"table": table, "--by": "group"},
        "project": {"scans": volume, "--steps": 1},
        "segment": {"volumes": volume},
        "synthesize": {"labels": volume, "--out": "made.nii.gz"},
        "prepare": {"folder": folder, **made},
        "evaluate": {"data": pack},
        "render picture": {"recipes": recipe},
        "render film": {"recipes": recipe, "--out": "made.gif"},
        "render report": {"recipes": recipe},
        "render dicom": {"files": volume},
        "model labels": trained,
        "model calibrate": {"data": pack},
        "model site": {"folder": folder, "--name": "ward"},
        "model privacy-index": {"data": pack},
        "model export": {"--to": "onnx", **made},
        "model convert": {"network": volume, **made},
        **{f"train {kind}": trained for kind in ("anatomy", "stylegan", "vae")},
        "train diffusion": {"--autoencoder": model, **trained},
        **{
            f"train {kind}": {"model": model, **trained}
            for kind in ("flow", "encoder", "fit-statistics")
        },
        **{
            f"train {kind}": {"--maps": maps, **trained} for kind in ("segmentation", "translation")
        },
    }


@pytest.fixture
def as_anybody():
    """Even root may not read what its mode forbids."""
    if not hasattr(os, "geteuid") or os.geteuid():
        yield
        return
    libc, state = ctypes.CDLL(None), (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface, this thread
    libc.capget(header, state)
    kept, state[0] = state[0], state[0] & ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc.capset(header, state)
    yield
    state[0] = kept
    libc.capset(header, state)


def words_of(verb, given, model, option=None, path=None):
    """The command line of a verb, with a path as one of its options."""
    named = dict(given.get(verb, {}))
    if option is not None:
        named[option] = path
        named.pop(INSTEAD.get(option, ""), None)
    options = [parameter.opts[0] for parameter in COMMANDS[verb].params]
    if "--model" in options:
        named.setdefault("--model", model)
    words = [str(named[name]) for name in options if name in named and name[0] != "-"]
    return [*verb.split(), *words, *(w for o, v in named.items() if o[0] == "-" for w in (o, v))]


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="no files of a kernel")
@pytest.mark.parametrize(("verb", "option"), CASES)
def test_a_broken_path_is_refused_in_a_sentence(
    verb, option, run, model, given, broken, tmp_path, monkeypatch, as_anybody
):
    monkeypatch.chdir(tmp_path)
    slowest, wrong = 0.0, {}
    first = zlib.crc32(f"{verb} {option}".encode()) % SHARE
    for path in broken[first::SHARE]:
        if option in OUTPUTS and Path(path).name in WRITABLE:
            continue
        if (verb, option) in UNUSED and os.path.exists(path):
            continue
        began = time.process_time()
        done = run(*words_of(verb, given, model, option, path))
        slowest = max(slowest, time.process_time() - began)
        told = done.err.strip()
        if done.status != 2 or not told or any(word in told for word in WRONG):
            wrong[str(path)[-40:]] = (done.status, told[-200:])
    assert wrong == {}
    assert slowest < 10
    assert list(tmp_path.iterdir()) == [], "nothing is left"


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (MemoryError(), 2, "there was not enough memory"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.nii.gz"),
            2,
            "x.nii.gz cannot be used",
        ),
        (OSError(errno.EPIPE, "Broken pipe"), 1, ""),  # such as of `head`, which has read enough
    ],
    ids=["memory", "disk", "pipe"],
)
def test_without_memory_room_or_a_reader_every_verb_ends_in_a_sentence(
    error, status, says, run, given, model, tmp_path, monkeypatch
):
    def fails(*_, **__):
        raise error

    monkeypatch.chdir(tmp_path)
    for verb, command in COMMANDS.items():
        monkeypatch.setattr(type(command), "invoke", fails)
        done = run(*words_of(verb, given, model))
        assert done.status == status, (verb, done.err)
        assert says in done.err, verb
        assert "unexpected" not in done.err, verb
