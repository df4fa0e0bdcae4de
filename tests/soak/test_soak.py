"""What is slow or hostile by nature: `make soak`. `make test` runs a sample of each kind.

make soak ARGS="-k killed"
STYLEGAN3D_SOAK=10 make soak    ten times as long
"""

import os
import subprocess
import sys
from pathlib import Path

import doomed
import fuzz
import pytest

pytestmark = pytest.mark.soak
HERE = Path(__file__).parent
#: How many times the usual length.
LENGTH = float(os.environ.get("STYLEGAN3D_SOAK", "1"))


def run(program: str, *words: object) -> None:
    """Run one of the programs beside this file to its end, which must be a good one."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    command = [sys.executable, HERE / program, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.parametrize("reader", [reader.name for reader in fuzz.all_readers()])
def test_spoiled_files(reader):
    run("fuzz.py", "--count", int(2000 * LENGTH), "--readers", reader)


def test_spoiled_files_guided_by_coverage():
    pytest.importorskip("atheris", reason="coverage-guided fuzzing needs atheris")
    run("guided.py", "--minutes", 30 * LENGTH)


@pytest.mark.parametrize("kind", ["window", *doomed.KINDS])
def test_work_that_is_killed(kind):
    run("kills.py", kind, "--rounds", int(10 * LENGTH))


def test_a_long_day_of_the_window():
    run("long_day.py", "--small", "--minutes", 60 * LENGTH)


def test_three_windows_at_once():
    run("long_day.py", "--windows", 3)
