"""Spoiled files that are led by what they reach: coverage-guided fuzzing of the readers.

    python tests/soak/guided.py [--readers recipe,sidecar] [--minutes 30] [--corpus FOLDER]
                                [--found FOLDER]

Of each reader in `readers.py` one file is varied, half of the time as `tests/soak/fuzz.py` does,
half of the time byte by byte, and what reaches code that nothing reached before is varied further
(libFuzzer, by way of atheris, which `make soak` installs from locks/soak.lock). What counts as a
failure is the same. It starts from the sample and from the corpus, an archive for each reader; what
reached new code is added there. `tests/test_fuzz.py` reads the whole corpus. Files that failed are
left in `--found`; the exit status is 1 if there are any.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mutations import Files
    from readers import Reader

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
#: Whose branches are counted.
COUNTED = ("stylegan3d", "nibabel", "pydicom")
#: Of one that is varied, and of one that is kept in the corpus.
LARGEST, LARGEST_KEPT = 200_000, 20_000
MEMORY_MB = 8000


def archive_of(corpus: Path, reader: str) -> Path:
    """A reader's archive in the corpus."""
    return corpus / f"{reader.replace(' ', '-')}.zip"


def chosen_of(reader: Reader, sample: Files) -> str:
    """The file of a sample that is varied."""
    return reader.chosen or next(iter(sample))


def vary(name: str, seconds: int, corpus: Path, found: Path) -> None:
    """In a process of its own, which libFuzzer ends: vary the file of one reader."""
    import atheris

    place = Path(tempfile.mkdtemp())
    # What a reader imports, it imports when it reads.
    with atheris.instrument_imports(include=list(COUNTED)):
        import fuzz

        reader = next(one for one in fuzz.all_readers() if one.name == name)
        sample = fuzz.sample_of(reader)
        fuzz.lay_out(place, sample)
        reader.read(place)
    chosen = chosen_of(reader, sample)
    spoil = reader.spoil.get(chosen.rpartition(".")[2])
    start = corpus / "sample"
    if len(sample[chosen]) <= LARGEST:
        start.write_bytes(sample[chosen])

    def one(data: bytes) -> None:
        folder = place / "files"
        folder.mkdir()
        try:
            ended, said = fuzz.read_one(reader, reader.mended({**sample, chosen: data}), folder)
            if ended == "failed":
                raise AssertionError(said)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def varied(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if spoil is not None and rng.random() < 0.5:
            try:
                return bytes(spoil(rng, bytes(data)))[:most]
            except Exception:  # spoiled before, so that it is no such file any more
                pass
        return atheris.Mutate(data, most)

    words = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST}",
        f"-artifact_prefix={found}/{name.replace(' ', '-')}-",
        f"-rss_limit_mb={MEMORY_MB}",
        "-timeout=60",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup(words, one, custom_mutator=varied)
    atheris.Fuzz()


def keep(new: Path, archive: Path) -> int:
    """Add what is new and small to a reader's archive; how many files that were."""
    contents = {}
    if archive.is_file():
        with zipfile.ZipFile(archive) as opened:
            contents = {name: opened.read(name) for name in opened.namelist()}
    found = {path.name: path.read_bytes() for path in new.iterdir() if path.name != "sample"}
    fresh = {n: c for n, c in found.items() if n not in contents and len(c) <= LARGEST_KEPT}
    if fresh:
        archive.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in sorted((contents | fresh).items()):
                made.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return len(fresh)


def main() -> int:
    """Vary the files of all readers, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", default="", help="names, separated by commas; all without")
    parser.add_argument("--minutes", type=float, default=30, help="for all readers together")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--vary", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.vary:
        vary(options.vary, options.seconds, options.corpus, options.found)
        return 0
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("Coverage-guided fuzzing needs atheris: pip install -r locks/soak.lock.")
    import fuzz

    options.found.mkdir(parents=True, exist_ok=True)
    names = [name.strip() for name in options.readers.split(",") if name.strip()]
    readers = [one for one in fuzz.all_readers() if not names or one.name in names]
    seconds = max(round(60 * options.minutes / len(readers)), 1)
    for reader in readers:
        kept = archive_of(options.corpus, reader.name)
        with tempfile.TemporaryDirectory() as place:
            work = Path(place) / "corpus"
            work.mkdir()
            if kept.is_file():
                shutil.unpack_archive(kept, work)
            words = ["--vary", reader.name, "--seconds", str(seconds)]
            words += ["--corpus", str(work), "--found", str(options.found.absolute())]
            command = [sys.executable, __file__, *words]
            ran = subprocess.run(command, capture_output=True, text=True)
            told = dict(
                line.removeprefix("stat::").split(":", 1)
                for line in ran.stderr.splitlines()
                if line.startswith("stat::")
            )
            count = told.get("number_of_executed_units", "no").strip()
            fresh = keep(work, kept)
        print(f"{reader.name}: {count} files, {fresh} new in the corpus, exit {ran.returncode}")
        if ran.returncode:
            print(ran.stderr[-3000:])
    return int(any(options.found.iterdir()))


if __name__ == "__main__":
    sys.exit(main())
