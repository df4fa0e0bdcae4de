"""The program as a whole: start-up, help, unexpected errors, the public names."""

import subprocess
import sys

import pytest
from typer.main import get_command

import stylegan3d
from stylegan3d import cli
from stylegan3d.cli.common import progress

COMMANDS = get_command(cli.app).commands


def python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_neither_the_package_nor_the_help_waits_for_torch():
    result = python(
        "import sys, stylegan3d, stylegan3d.cli; stylegan3d.Recipe;"
        "assert not {'torch', 'sklearn', 'SimpleITK'} & set(sys.modules), sys.modules.keys();"
        "stylegan3d.cli.main(['generate', '--help'])"
    )
    assert result.returncode == 0, result.stderr
    assert "--seeds" in result.stdout


def test_every_public_name_is_there():
    for name in stylegan3d.__all__:
        assert getattr(stylegan3d, name) is not None
    assert set(stylegan3d.__all__) <= set(dir(stylegan3d))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        stylegan3d.nothing  # noqa: B018


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_with_an_example_and_json(run, verb):
    result = run(verb, "--help")
    assert result.status == 0
    assert f"Example: stylegan3d {verb}" in result.out
    options = [option for parameter in COMMANDS[verb].params for option in parameter.opts]
    assert "--json" in options


def test_unexpected_errors_are_a_sentence_unless_asked(run, monkeypatch, tmp_path):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr("stylegan3d.model.loading.load", broken)
    result = run("info")
    assert result.status == 1
    assert len(result.err.splitlines()) == 1
    assert "ZeroDivisionError: division by zero" in result.err
    assert "--debug" in result.err
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "info"])


def test_version_and_nothing_at_all(run):
    assert run("--version").out == f"stylegan3d {stylegan3d.__version__}\n"
    assert "generate" in run().out + run().err


def test_progress_is_silent_where_nobody_watches(capsys, monkeypatch):
    with progress("Working", total=2) as report:
        report(1)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress("Working") as report:
        report(1, 2, note="at it")
    out, err = capsys.readouterr()
    assert out == ""
    assert "Working" in err
