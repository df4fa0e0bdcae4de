"""The program as a whole: start-up, help, unexpected errors, the public names."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import stylegan3d
from stylegan3d import cli
from stylegan3d.cli import common
from stylegan3d.cli.common import progress
from stylegan3d.devices import choose_device

PROGRAM = get_command(cli.app)


def verbs(group=PROGRAM, before=()):
    """Every verb and sub-verb with its command, such as ("render", "film")."""
    for name, command in group.commands.items():
        yield (*before, name), command
        if hasattr(command, "commands"):
            yield from verbs(command, (*before, name))


COMMANDS = dict(verbs())


def python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_neither_the_package_nor_the_help_waits_for_torch():
    result = python(
        "import sys, stylegan3d, stylegan3d.cli; stylegan3d.Recipe;"
        "assert not {'torch', 'sklearn', 'SimpleITK'} & set(sys.modules), sys.modules.keys();"
        "\ntry: stylegan3d.cli.main(['generate', '--help'])"
        "\nexcept SystemExit as end: assert not end.code"
        "\ntry: stylegan3d.cli.main(['--help'])"
        "\nfinally: assert not {'torch', 'sklearn', 'SimpleITK'} & set(sys.modules)"
    )
    assert result.returncode == 0, result.stderr
    assert "--seeds" in result.stdout
    for verb in PROGRAM.commands:
        assert f"│ {verb} " in result.stdout


def test_every_public_name_is_there():
    for name in stylegan3d.__all__:
        assert getattr(stylegan3d, name) is not None
    assert set(stylegan3d.__all__) <= set(dir(stylegan3d))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        stylegan3d.nothing  # noqa: B018


def test_there_are_about_a_dozen_verbs():
    assert 10 <= len(PROGRAM.commands) <= 15


def examples(command):
    """The words of the examples in a verb's help."""
    for paragraph in command.help.split("\n\n"):
        before, _, example = " ".join(paragraph.split()).partition(": ")
        if before in ("Example", "Then"):
            yield shlex.split(example)


@pytest.mark.parametrize("verb", COMMANDS, ids=" ".join)
def test_every_verb_has_help_with_examples_that_parse_and_json(run, verb):
    result = run(*verb, "--help")
    assert result.status == 0
    assert f"Example: stylegan3d {' '.join(verb)}" in " ".join(result.out.split())
    for program, *words in examples(COMMANDS[verb]):
        assert program == "stylegan3d"
        command, path = PROGRAM, []
        while hasattr(command, "commands"):
            path.append(words.pop(0))
            command = command.commands[path[-1]]
        command.make_context(" ".join(path), words)
    if not hasattr(COMMANDS[verb], "commands"):
        assert "--json" in options(COMMANDS[verb])


def options(command):
    """Every option of a verb, as it is written."""
    return [option for parameter in command.params for option in parameter.opts]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fly",), "No such command 'fly'; see `stylegan3d --help`."),
        (("generate", "--sed"), "see `stylegan3d generate --help`."),
        (("generate", "--truncation", "much"), "Invalid value for '--truncation'"),
        (("generate", "--recipe", "{}", "--noise", "none"), "--noise cannot be combined with"),
        (("render",), "Missing command; see `stylegan3d render --help`."),
        (("render", "picture", "--seeds", "1", "--out"), "'--out' requires an argument"),
        (
            ("project", "x.nii.gz", "--skull", "off"),
            "--skull is 'off', but must be one of",
        ),
    ],
)
def test_wrong_words_are_one_sentence(run, words, says):
    result = run(*words)
    assert (result.status, result.out) == (2, "")
    assert says in result.err
    assert result.err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
@pytest.mark.parametrize(
    "asked", [pytest.param(("info", "--json"), marks=pytest.mark.soak), ("--help",)]
)
def test_a_full_disk_behind_stdout_is_one_sentence(asked):
    words = [sys.executable, "-m", "stylegan3d", *asked]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("stylegan3d: The result cannot be printed")
    assert ended.stderr.count("\n") == 1


def test_unexpected_errors_are_a_sentence_unless_asked(run, monkeypatch, tmp_path):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero\nand more")

    monkeypatch.setattr("stylegan3d.model.generator.load", broken)
    result = run("info")
    assert result.status == 1
    assert len(result.err.splitlines()) == 1
    assert "ZeroDivisionError: division by zero" in result.err
    assert "--debug" in result.err
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "info"])


def test_what_the_system_refuses_is_a_sentence(run, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", "secret.safetensors")

    monkeypatch.setattr("stylegan3d.model.generator.load", refused)
    told = run("info")
    assert told.status == 2
    assert told.err.startswith("stylegan3d: secret.safetensors cannot be used (Permission denied)")
    assert told.err.count("\n") == 1


#: Verbs that read, convert or fit on the processor alone.
ON_CPU = {"info", "prepare", "dicom", "convert", "export", "anatomy", "fit-statistics"}


def test_every_verb_that_computes_is_told_where():
    told = {
        path[-1]: any("--device" in one.opts for one in command.params)
        for path, command in COMMANDS.items()
        if not hasattr(command, "commands")
    }
    assert {name for name in told if not told[name]} == ON_CPU


def test_it_computes_where_it_is_told_and_only_then(run, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    words = ("model", "labels", tmp_path, "--model", "brain-t1-2mm", "--device")
    said = run(*words, "abacus").err
    assert "The device 'abacus' is not available" in said
    chosen = []
    monkeypatch.setattr(
        "stylegan3d.cli.model.load_pack", lambda _: chosen.append(choose_device("auto").type)
    )
    run(*words, "cpu")
    assert chosen == ["cpu"]
    assert choose_device("auto").type == "cuda"


def test_version_and_nothing_at_all(run):
    assert run("--version").out == f"stylegan3d {stylegan3d.__version__}\n"
    assert "generate" in run().out


@pytest.fixture
def now(caplog, monkeypatch):
    """The clock of progress in seconds, at [0]; its lines are in `caplog`."""
    now = [0.0]
    monkeypatch.setattr(common, "monotonic", lambda: now[0])
    monkeypatch.setattr(common, "NEW_S", 5.0)
    monkeypatch.setattr(common, "SAME_S", 30.0)
    caplog.set_level("INFO", common.__name__)
    return now


def test_progress_without_a_terminal_is_a_line_now_and_then(caplog, now):
    now[0] = 100.0
    with progress("Projecting") as report:
        for second in range(61):
            now[0] = 100.0 + second
            report(second / 20, 10, f"sub-{second // 20}", f"step {second % 20}")
    assert caplog.messages == [
        "Projecting: 0.25 of 10, sub-0, step 5, 5 s elapsed, 20 s each, about 3 min 15 s left",
        "Projecting: 1 of 10, sub-1, step 0, 20 s elapsed, 20 s each, about 3 min left",
        "Projecting: 2 of 10, sub-2, step 0, 40 s elapsed, 20 s each, about 2 min 40 s left",
        "Projecting: 3 of 10, sub-3, step 0, 1 min elapsed, 20 s each, about 2 min 20 s left",
    ]


def test_progress_of_long_work_is_told_exactly(caplog, now):
    lines = common.ProgressLines("Training")
    for done, now[0] in ((12_345, 0.0), (12_346, 45.0), (12_546, 9009.0)):
        lines(done, 18_750, "", "")
    assert caplog.messages == [
        "Training: 12346 of 18750, 45 s elapsed, 45 s each, about 80 h 3 min left",
        "Training: 12546 of 18750, 2 h 30 min elapsed, 44.8 s each, about 77 h 14 min left",
    ]
    now[0] += 60
    lines(18_750, 18_750, "", "")
    assert caplog.messages[-1] == "Training: 18750 of 18750, 2 h 31 min elapsed, finishing"


def test_the_time_left_is_that_of_the_phase(caplog, now):
    lines = common.ProgressLines("Projecting")
    steps = (0, 1, 0.0), (0.6, 1, 60.0), (0, 12, 61.0), (1, 12, 71.0)
    for done, total, now[0] in steps:
        lines(done, total, f"phase of {total}", "")
    assert caplog.messages[-1].endswith("10 s each, about 1 min 50 s left")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_program_that_is_stopped_says_how_to_go_on(name):
    code = (
        # What a shell runs in the background ignores SIGINT, and so would its children.
        "import os, signal, time; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from stylegan3d import cli; cli._program().commands['info']"
        f".callback = lambda **_: (os.kill(os.getpid(), signal.{name}), time.sleep(9)); cli.main()"
    )
    words = [sys.executable, "-c", code, "info", "scan"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    told = "stylegan3d: stopped; what is finished is kept.\n"
    assert done.stderr.startswith(told)


def test_a_training_that_is_stopped_is_said_to_need_resume(caplog):
    def stopped(**_):
        raise KeyboardInterrupt

    how_to = "once steps were saved with --resume and without --preset, continues."
    for words, how in (
        (["train", "flow"], how_to),
        (["--quiet", "train", "flow"], how_to),
        (["--quiet", "generate"], "what is finished is kept."),
        (["train", "flow", "--resume"], ", and the same command continues."),
        (["model", "export"], "what is finished is kept."),
    ):
        with pytest.raises(SystemExit):
            cli.main(words, run=stopped)
        assert caplog.messages[-1].endswith(how)


def test_progress_is_told_again_while_a_scan_takes_long(caplog, now):
    class Over:
        def wait(self, seconds):
            now[0] += seconds
            return now[0] > 40.0

    common.ProgressLines("Exporting").repeat(Over())  # which tells nothing itself
    assert caplog.messages == ["Exporting: 30 s elapsed"]
    caplog.clear()
    now[0] = 0.0
    lines = common.ProgressLines("Projecting")
    lines(1, 4, "sub-02", "")
    lines.repeat(Over())
    assert caplog.messages == [f"Projecting: 1 of 4, sub-02, {s} s elapsed" for s in (5, 35)]
    lines(2, 4, "sub-03", "")
    lines.repeat(Over())  # its time has passed since it began
    now[0] += 35.0
    lines(2, 4, "sub-03", "")
    assert caplog.messages[2:] == [
        "Projecting: 2 of 4, sub-03, 45 s elapsed, 45 s each, about 1 min 30 s left",
        "Projecting: 2 of 4, sub-03, 1 min 25 s elapsed, 45 s each, about 50 s left",
    ]


def test_progress_of_the_same_thing_is_told_twice_a_minute(caplog, now):
    with progress("Training") as report:
        for second in range(100):
            now[0] = float(second)
            report(500 + second, 1000, "", f"loss {1 - second / 100:.2f}")
    told = [message.split(", about")[0] for message in caplog.messages]
    assert told == [
        f"Training: {500 + s} of 1000, loss {1 - s / 100:.2f}, {elapsed} elapsed, 1 s each"
        for s, elapsed in ((30, "30 s"), (60, "1 min"), (90, "1 min 30 s"))
    ]


@pytest.mark.parametrize("notebook", [False, True])
def test_progress_on_a_terminal_is_a_bar_and_in_a_notebook_none(notebook, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    if notebook:
        monkeypatch.setenv("JPY_PARENT_PID", "1")
    common.log.setLevel("INFO")
    with progress("Working") as report:
        report(1, 2, "at it")
    out, err = capsys.readouterr()
    assert out == ""
    assert ("Working" in err) is not notebook


@pytest.mark.parametrize(("how", "told"), [("--verbose", True), ("--quiet", False)])
def test_what_is_told_is_also_in_the_log(how, told, tmp_path, capsys):
    path = tmp_path / "run.log"
    words = ["generate", "--seeds", "1", "--out", str(tmp_path)]
    for _ in range(2):
        with pytest.raises(SystemExit):
            cli.main([how, "--log", str(path), *words, "--model", str(tmp_path / "absent")])
    error = capsys.readouterr().err
    written = path.read_text(encoding="utf-8")
    assert written.count("absent") == error.count("absent") == 2
    assert ("took" in error) == ("took" in written) == told


def test_a_log_that_cannot_be_written_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--log", str(tmp_path / "no" / "run.log"), "info"])
    assert end.value.code == 2
    assert "run.log" in capsys.readouterr().err
