"""A sample of `tests/soak/fuzz.py`: spoiled files of every kind are read or refused in a sentence.

`make soak` reads two thousand of each kind, in processes of their own with bounded memory.
"""

import sys
import warnings
import zipfile
from pathlib import Path

import fuzz
import guided
import pytest

from stylegan3d.scans import alignment, dicom
from stylegan3d.scans.dicom_process import HEADER_BYTES

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.zip"))
READERS = {reader.name: reader for reader in fuzz.readers()}
# Those that come first are the same for all readers, or bombs: each reader gets a fifth of them.
FIRST, DRAWN = range(30), range(500, 506)
SHARE = 5


@pytest.mark.parametrize("name", READERS)
def test_spoiled_files_are_read_or_refused_in_one_sentence(name, tmp_path):
    reader = READERS[name]
    (tmp_path / "whole").mkdir()
    fuzz.lay_out(tmp_path / "whole", fuzz.sample_of(reader))
    reader.read(tmp_path / "whole")
    refused = 0
    for number in (*FIRST[list(READERS).index(name) % SHARE :: SHARE], *DRAWN):
        folder = tmp_path / str(number)
        folder.mkdir()
        files = reader.mutant(number)
        ended, said = fuzz.read_one(reader, files, folder)
        assert ended != "failed", f"{name} {number}: {said}"
        refused += ended == "refused"
    # Caches that cannot be read count as not there.
    assert refused > 2 or name == "npz caches"


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell peaks of memory")
def test_a_header_that_claims_gigabytes_does_not_fill_the_memory_for_them(tmp_path):
    def peak():
        status = Path(f"/proc/{dicom._decoder.start().pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    file = tmp_path / "sound"
    file.write_bytes(READERS["DICOM folder"].mutant(0)["series/IM0001"])
    assert dicom.slices_of(file, dicom.DicomSearch())
    before = peak()
    file = tmp_path / "claims"
    file.write_bytes(READERS["DICOM folder"].mutant(504)["series/IM0000"])
    assert not dicom.slices_of(file, dicom.DicomSearch())
    assert peak() - before <= HEADER_BYTES


@pytest.mark.parametrize("archive", CORPUS, ids=lambda path: path.stem)
def test_what_fuzzing_found_worth_keeping_is_read_or_refused(archive, tmp_path):
    reader = next(r for r in READERS.values() if r.name.replace(" ", "-") == archive.stem)
    sample = fuzz.sample_of(reader)
    chosen = guided.chosen_of(reader, sample)
    with zipfile.ZipFile(archive) as kept:
        contents = {name: kept.read(name) for name in kept.namelist()}
    assert contents
    for name, content in contents.items():
        folder = tmp_path / name
        folder.mkdir()
        files = reader.mended({**sample, chosen: content})
        ended, said = fuzz.read_one(reader, files, folder)
        assert ended != "failed", f"{name}: {said}"


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.words])
def test_the_program_refuses_them_with_status_2_and_writes_nothing(name, tmp_path, monkeypatch):
    # No pose of noise fits, so that all are tried: on the finest grids that takes seconds.
    monkeypatch.setattr(alignment, "LEVELS_MM", (32.0, 24.0))
    reader = READERS[name]
    (tmp_path / "whole").mkdir()
    fuzz.lay_out(tmp_path / "whole", fuzz.sample_of(reader))
    ended, said = fuzz.run_one(reader, fuzz.sample_of(reader), tmp_path / "again")
    assert ended == "read", said
    for number in (12, 500, 503):
        folder = tmp_path / str(number)
        folder.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ended, said = fuzz.run_one(reader, reader.mutant(number), folder)
        assert ended != "failed", f"{name} {number}: {said}"


def test_a_reader_that_lets_anything_through_would_be_found(tmp_path):
    """The harness sees tracebacks, files that are written, and messages that are no sentence."""
    from dataclasses import replace

    from stylegan3d.base import ScanError

    def raises(error):
        def read(folder):
            raise error

        return read

    def writes(folder):
        (folder / "left").write_text("x")

    wrong = (raises(KeyError("x")), raises(MemoryError()), raises(ScanError("")), writes)
    for number, read in enumerate(wrong):
        folder = tmp_path / str(number)
        folder.mkdir()
        reader = replace(READERS["recipe"], read=read)
        assert fuzz.read_one(reader, {"a": b"x"}, folder)[0] == "failed"
    assert fuzz.complaint("One sentence: do this.") is None
    assert fuzz.complaint("two\nlines.") is not None
    assert fuzz.complaint("\x1b[31mred.") is not None


def test_mutants_are_the_same_each_time():
    for name in ("latent", "value table", "NIfTI-1 .nii.gz"):
        assert READERS[name].mutant(777) == READERS[name].mutant(777)
        assert READERS[name].mutant(777) != READERS[name].mutant(778)
