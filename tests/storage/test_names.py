"""Names that Linux, macOS and Windows can all store, whichever of them wrote the path."""

import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest

from stylegan3d.base import OutputError
from stylegan3d.cohort.run import find_items
from stylegan3d.outputs.results import volume_name
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.storage import formats
from stylegan3d.storage.files import atomic_write_text, check_output
from stylegan3d.storage.formats import scan_stem

WINDOWS = "C:\\Scans\\Müller, Zoë\\sub-01_T1w.nii.gz"


@pytest.mark.parametrize(
    "path",
    [
        WINDOWS,
        "\\\\server\\share\\sub-01_T1w.nii.gz",
        "\\\\?\\C:\\very\\long\\sub-01_T1w.nii.gz",
        "C:sub-01_T1w.nii.gz",
        "..\\sub-01_T1w.nii.gz",
        "/Volumes/Data/sub-01_T1w.nii.gz",
        "sub-01_T1w.nii.gz",
        PureWindowsPath(WINDOWS),
    ],
)
def test_a_scan_is_called_the_same_whichever_system_wrote_its_path(path: str) -> None:
    assert scan_stem(path) == "sub-01"


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("sub-01", "sub-01"),
        ("Zoë 脳", "Zoë 脳"),
        ("CON", "CON-"),
        ("nul", "nul-"),
        ("com1", "com1-"),
        ("LPT¹", "LPT¹-"),
        ("aux.v2", "aux-.v2"),
        ("console", "console"),
        ("com10", "com10"),
        ("a:b?c*d", "a-b-c-d"),
        ("ends. ", "ends"),
        ("line\nend", "line-end"),
        (" . ", ""),
    ],
)
def test_names_that_windows_cannot_store_are_mended(stem: str, expected: str) -> None:
    assert formats.portable(stem) == expected
    if expected:
        assert formats.wrong_on_windows(expected + "_desc-synthetic_T1w.nii.gz") == ""
        assert formats.wrong_on_windows(expected) == ""
        assert formats.portable(expected) == expected


def test_long_names_are_cut_and_stay_apart(tmp_path: Path) -> None:
    first, second = ("ö" * 120 + end for end in ("a", "b"))
    cut = formats.portable(first)
    assert len(cut.encode()) <= formats.LONGEST_STEM
    assert cut != formats.portable(second)
    assert cut.startswith("ö" * 60)
    recipe = Recipe(Source("latent", path=f"{first}_latent.safetensors", sha256="0" * 64))
    atomic_write_text(tmp_path / volume_name(recipe), "fits")


@pytest.mark.parametrize("name", ["NUL.nii.gz", "con", "a?.nii.gz", "a:b.nii.gz", "end. "])
def test_windows_is_not_asked_to_write_to_a_device(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "ON_WINDOWS", True)
    with pytest.raises(OutputError, match=r"cannot be the name of a file: .*\. Choose another\.$"):
        check_output([tmp_path / name])
    with pytest.raises(OutputError, match="Windows"):
        atomic_write_text(tmp_path / name, "text")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(formats, "ON_WINDOWS", False)
    check_output([tmp_path / name])


def test_what_a_recipe_of_windows_names_is_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "brain_latent.safetensors").write_bytes(b"x")
    there = Source("latent", path="D:\\saved\\brain_latent.safetensors", sha256="0" * 64)
    assert there.within(tmp_path).path == str(tmp_path / "brain_latent.safetensors")


def scans(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return folder


def test_scans_that_differ_in_case_do_not_share_a_folder(tmp_path: Path) -> None:
    """On Windows and macOS the second would overwrite the first."""
    folder = scans(tmp_path, "Sub-01.nii.gz", "sub-01.nii.gz", "a/x.nii", "A/x.nii", "b/y.nii")
    places = [item.folder for item in find_items([folder])]
    assert len({formats.same_place(place) for place in places}) == 5
    assert "b" in places, "those that nothing resembles stay where they are"


def test_listed_scans_that_differ_in_case_have_names_apart(tmp_path: Path) -> None:
    folder = scans(tmp_path, "one/Sub.nii", "two/sub.nii")
    found = find_items([folder / "one/Sub.nii", folder / "two/sub.nii"])
    assert len({formats.same_place(item.name) for item in found}) == 2
    scans(tmp_path, "one/x.nii", "One/x.nii")
    found = find_items([folder / "one/x.nii", folder / "One/x.nii"])
    assert [item.name for item in found] == ["x-1", "x-2"]


#: What a console without any language is, with Python's own remedies against it switched off.
BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = [{"LC_ALL": "C"}, {"LC_ALL": "de_DE.UTF-8"}, {"LC_ALL": "tr_TR.UTF-8"}]
SAVE = """
import sys
from pathlib import Path
from stylegan3d.base import OutputError
from stylegan3d.storage.files import atomic_write_text
from stylegan3d.outputs.results import volume_name
from stylegan3d.recipe.description import read_recipe
folder = Path(sys.argv[1])
recipe = read_recipe(folder / "recipe.json")
try:
    atomic_write_text(folder / "out" / volume_name(recipe), "0.7 \\u00fc")
except OutputError as error:
    sys.exit(str(error))
"""


def save_in(locale: dict[str, str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Save what a recipe with letters of several scripts in its name asks for."""
    recipe = Recipe(Source("latent", path="Zoë İı.safetensors", sha256="0" * 64))
    atomic_write_text(folder / "recipe.json", recipe.to_json())
    command = [sys.executable, "-c", SAVE, str(folder)]
    return subprocess.run(command, env=os.environ | locale, stderr=subprocess.PIPE)


@pytest.mark.parametrize("locale", LOCALES, ids=lambda locale: locale["LC_ALL"])
def test_names_are_the_same_in_every_locale(tmp_path: Path, locale: dict[str, str]) -> None:
    folder = tmp_path / "Bilder für Zoë 脳"
    assert save_in(locale, folder).returncode == 0
    (saved,) = (folder / "out").iterdir()
    assert saved.name == "Zoë İı_desc-synthetic_T1w.nii.gz"
    assert saved.read_bytes() == "0.7 ü".encode()


def test_a_locale_that_cannot_write_a_name_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "Bilder für Zoë"
    result = save_in(BARE, folder)
    assert result.returncode == 1
    assert b"has letters that this locale (ascii) cannot write: set LC_ALL" in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert sorted(folder.iterdir()) == [folder / "recipe.json"]


def test_folders_are_cut_out_of_what_is_handed_on():
    value = {
        "scan": "/data/DOE JANE/1970/sub-01.nii.gz",
        "told": ["/data/DOE JANE/1970/b.nii is damaged.", "1/2 of /data/other.nii", 3, None],
        "link": "/store/DOE JOHN/a.nii.gz is a link to MD5/b.gz, which does not exist.",
        "windows": "C:\\Users\\jane\\a.nii",
        "relative": "sub-01/anat/a.nii",
    }
    assert formats.without_folders(value) == {
        "scan": "sub-01.nii.gz",
        "told": ["b.nii is damaged.", "1/2 of other.nii", 3, None],
        "link": "a.nii.gz is a link to MD5/b.gz, which does not exist.",
        "windows": "a.nii",
        "relative": "sub-01/anat/a.nii",
    }
    assert formats.without_folders("see /x/y/a.nii", ["/x/y/b.nii"]) == "see a.nii"
    assert formats.without_folders("/x/y of /") == "y of "
