"""What the documents say is true: links lead somewhere, examples run, options exist."""

import ast
import importlib
import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "weights/*/README.md", "*/samples/*.md")
    for page in ROOT.glob(pattern)
)


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        linked = (page.parent / place).resolve() if place else page
        assert linked.exists(), f"{target} does not exist"
        assert linked.is_relative_to(ROOT), f"{target} leads out of the repository"
        assert not anchor or anchor in anchors(linked), f"{target}: no such heading"


def command_lines(program: str) -> list[tuple[str, str]]:
    """Every call of `program` in a shell block, with the page it stands on."""
    lines = []
    for page in PAGES:
        for block in code_blocks(page, "bash"):
            joined = block.replace("\\\n", " ")
            lines += [(page_id(page), ln) for ln in joined.splitlines() if ln.startswith(program)]
    return lines


@pytest.mark.parametrize(("page", "line"), command_lines("stylegan3d "))
def test_commands_and_their_options_exist(page: str, line: str) -> None:
    from typer.main import get_command

    from stylegan3d.cli import app

    _, *arguments = shlex.split(line, comments=True)
    command = get_command(app)
    while hasattr(command, "commands"):
        verb = arguments.pop(0)
        assert verb in command.commands, f"{page}: there is no {verb} in `{line}`"
        command = command.commands[verb]
    known = {"--help"}
    for parameter in command.params:
        known.update(parameter.opts, parameter.secondary_opts)
    used = {word.split("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
    assert used <= known, f"{page}: no such option: {sorted(used - known)}"


@pytest.mark.parametrize("line", [line for _, line in command_lines("make ")])
def test_make_targets_exist(line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M)
    assert shlex.split(line, comments=True)[1] in targets


@pytest.fixture
def folder_with_a_scan(tmp_path: Path) -> Path:
    samples = sorted((ROOT / "napari_stylegan3d/samples").glob("*.nii.gz"))
    shutil.copy(samples[0], tmp_path / "scan.nii.gz")
    return tmp_path


def few_steps(example: str) -> str:
    """The example with a projection of a few steps: its text is tested here, not its result."""
    shortened = example.replace('budget="draft"', "steps=3").replace("--budget draft", "--steps 3")
    assert shortened != example
    return shortened


def python_blocks() -> list[tuple[str, str]]:
    return [(page_id(page), block) for page in PAGES for block in code_blocks(page, "python")]


@pytest.mark.parametrize(("page", "block"), python_blocks())
def test_python_of_the_pages_names_what_exists(page: str, block: str) -> None:
    """Every import leads somewhere, and every call of ours takes the arguments it is given."""
    from stylegan3d.model.generator import Generator

    tree, names = ast.parse(block), {"G": Generator}
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(imports, []), page, "exec"), names)
    checked = 0
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        place = ast.unparse(call.func)
        if place.partition(".")[0] not in names:
            continue
        known = eval(place, names)
        if not known.__module__.startswith("stylegan3d"):
            continue
        bound = [None] * (len(call.args) + place.startswith("G."))
        inspect.signature(known).bind(*bound, **{one.arg: None for one in call.keywords})
        checked += 1
    assert checked, f"{page}: nothing of ours is called"


def test_python_example_of_official_checkpoints_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests/checkpoints/data/official_tiny.pkl", "2mm_f96.pkl")
    (example,) = code_blocks(ROOT / "docs/howto/checkpoints.md", "python")
    left: dict[str, Any] = {}
    exec(compile(example, "checkpoints.md", "exec"), left)
    assert left["volume"].shape[1:] == (1, *left["G"].shape)
    assert left["score"].shape == (1,)


@pytest.mark.soak
def test_python_example_of_the_readme_runs(
    folder_with_a_scan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder_with_a_scan)
    (example,) = code_blocks(ROOT / "README.md", "python")
    exec(compile(few_steps(example), "README.md", "exec"), {})
    assert (folder_with_a_scan / "scan_desc-projected_T1w.nii.gz").stat().st_size > 0


@pytest.mark.soak
def test_command_line_example_of_the_readme_runs(
    folder_with_a_scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stylegan3d.cli import main

    monkeypatch.chdir(folder_with_a_scan)
    blocks = code_blocks(ROOT / "README.md", "bash")
    (example,) = (block for block in blocks if block.startswith("stylegan3d generate"))
    for line in few_steps(example).splitlines():
        # In this process: a new one would load torch for every line.
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(line)[1:])
        assert not ended.value.code, f"{line}\n{capsys.readouterr().err}"
    written = {path.parent.name for path in folder_with_a_scan.rglob("*.nii.gz")}
    assert {"brains", "projected", "mixed", "edited"} <= written


def test_the_reference_lists_every_public_name() -> None:
    import stylegan3d

    page = (ROOT / "docs/reference/python.md").read_text()
    listed = re.findall(r"^   (stylegan3d\.\S+)$", page, flags=re.M)
    assert len(listed) == len(set(listed))
    public = {f"stylegan3d.{name}" for name in stylegan3d.__all__} - {"stylegan3d.__version__"}
    assert public <= set(listed)
    for name in listed:
        place, _, word = name.rpartition(".")
        assert hasattr(importlib.import_module(place), word), name


@pytest.mark.soak
def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    result = subprocess.run(
        [
            *(*command, "-c", ROOT / "scripts/site", "-d", tmp_path / "doctrees"),
            *("-b", "html", ROOT / "docs", tmp_path / "site"),
        ],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    pages = tmp_path / "site/reference"
    for page, text in {
        "python.html": "stylegan3d.load",
        "generated/stylegan3d.scans.Scan.html": "Scan.align",
        "command-line.html": "stylegan3d project",
        "controls.html": "browse.seed",
        "licences.html": "numpy",
    }.items():
        assert text in (pages / page).read_text(), page
