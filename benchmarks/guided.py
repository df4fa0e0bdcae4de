"""Spoiled files that are led by what they reach: coverage-guided fuzzing of the readers.

    python benchmarks/guided.py [--readers recipe,sidecar] [--seconds 120] [--corpus FOLDER]
                                [--found FOLDER]

Of each reader in `_readers.py` one file is varied, half of the time as `benchmarks/fuzz.py` does and
half of the time byte by byte, and what reaches code that nothing reached before is varied further
(libFuzzer, by way of atheris, which is installed with `pip install atheris`). What counts as a
failure is the same. It starts from the sample and from the corpus, a folder for each reader; what
reached new code is added there, the smallest set that reaches it all. `tests/test_fuzz.py` reads
the whole corpus. Files that failed are left in `--found`; the exit status is 1 if there are any.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "corpus"
#: Whose branches are counted.
COUNTED = ("stylegan3d", "nibabel", "pydicom")
#: Of one that is varied, and of one that is kept in the corpus.
LARGEST, LARGEST_KEPT = 200_000, 20_000
MEMORY_MB = 8000


def folder_of(reader: str) -> str:
    """The name of a reader's folder in the corpus."""
    return reader.replace(" ", "-")


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
    chosen = reader.chosen or next(iter(sample))
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
        f"-artifact_prefix={found}/{folder_of(name)}-",
        f"-rss_limit_mb={MEMORY_MB}",
        "-timeout=60",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup(words, one, custom_mutator=varied)
    atheris.Fuzz()


def keep(new: Path, corpus: Path) -> int:
    """Move what is new and small to the corpus; how many files that were."""
    corpus.mkdir(parents=True, exist_ok=True)
    there = {path.name for path in corpus.iterdir()}
    fresh = [p for p in new.iterdir() if p.name not in there and p.name != "sample"]
    fresh = [p for p in fresh if p.stat().st_size <= LARGEST_KEPT]
    for path in fresh:
        shutil.copy(path, corpus / path.name)
    return len(fresh)


def main() -> int:
    """Vary the files of all readers, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", default="", help="names, separated by commas; all without")
    parser.add_argument("--seconds", type=int, default=120, help="for each reader")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"))
    parser.add_argument("--vary", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.vary:
        vary(options.vary, options.seconds, options.corpus, options.found)
        return 0
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("Coverage-guided fuzzing needs atheris: pip install atheris.")
    import fuzz

    options.found.mkdir(parents=True, exist_ok=True)
    names = [name.strip() for name in options.readers.split(",") if name.strip()]
    readers = [one for one in fuzz.all_readers() if not names or one.name in names]
    for reader in readers:
        kept = options.corpus / folder_of(reader.name)
        with tempfile.TemporaryDirectory() as place:
            work = Path(place) / "corpus"
            shutil.copytree(kept, work) if kept.is_dir() else work.mkdir()
            words = ["--vary", reader.name, "--seconds", str(options.seconds)]
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
