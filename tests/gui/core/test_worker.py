"""Work off the GUI thread: the newest wins, long jobs report, stop and fail in words."""

from __future__ import annotations

import threading
import time

import pytest
from qtpy.QtCore import QCoreApplication, QEvent, QObject

from napari_stylegan3d.core.session import sentence
from napari_stylegan3d.core.worker import (
    PROGRESS_MS,
    JobProgress,
    LatestWins,
    LongJob,
)
from stylegan3d.base import ScanError, duration


def test_overtaken_requests_never_run(qtbot):
    gate, ran = threading.Event(), []

    def work(request):
        ran.append(request)
        gate.wait(5)
        return request

    latest, shown = LatestWins(work), []
    latest.ready.connect(lambda request, result: shown.append((request, result)))
    for request in range(50):
        latest.submit(request)
    gate.set()
    qtbot.waitUntil(lambda: not latest.busy, timeout=5000)
    assert ran == [0, 49]
    assert shown == [(0, 0), (49, 49)]
    latest.shutdown()


def test_one_request_of_each_key_waits_and_they_run_in_turn(qtbot):
    gate, ran = threading.Event(), []
    latest = LatestWins(lambda request: (gate.wait(5), ran.append(request)), key=lambda r: r[0])
    for request in ("a1", "b1", "c1", "b2", "a2"):
        latest.submit(request)
    assert [latest.request_of(key) for key in "abcd"] == ["a2", "b2", "c1", None]
    gate.set()
    qtbot.waitUntil(lambda: not latest.busy, timeout=5000)
    assert ran == ["a1", "b2", "c1", "a2"]
    assert latest.request_of("a") is None
    latest.shutdown()


def test_work_in_flight_learns_that_it_was_overtaken(qtbot):
    started, gave_up = threading.Event(), []

    def work(request):
        if request == "old":
            started.set()
            deadline = time.monotonic() + 5
            while not latest.overtaken and time.monotonic() < deadline:
                time.sleep(0.005)
            gave_up.append(latest.overtaken)
        return request

    latest = LatestWins(work)
    latest.submit("old")
    started.wait(5)
    assert not latest.overtaken
    latest.submit("new")
    qtbot.waitUntil(lambda: not latest.busy, timeout=6000)
    assert gave_up == [True]
    assert not latest.overtaken
    latest.shutdown()
    assert latest.overtaken


def test_work_is_off_the_gui_thread_and_results_are_on_it(qtbot):
    threads = {}
    latest = LatestWins(lambda _: threads.setdefault("work", threading.current_thread()))
    latest.ready.connect(lambda *_: threads.setdefault("result", threading.current_thread()))
    latest.submit(1)
    qtbot.waitUntil(lambda: "result" in threads, timeout=5000)
    assert threads["work"] is not threading.main_thread()
    assert threads["result"] is threading.main_thread()
    latest.shutdown()


def test_a_failure_does_not_stop_what_follows(qtbot):
    latest, failed, shown = LatestWins(lambda x: 1 / x), [], []
    latest.failed.connect(lambda request, error: failed.append(type(error)))
    latest.ready.connect(lambda request, result: shown.append(result))
    latest.submit(0)
    qtbot.waitUntil(lambda: bool(failed), timeout=5000)
    latest.submit(2)
    qtbot.waitUntil(lambda: bool(shown), timeout=5000)
    assert failed == [ZeroDivisionError]
    assert shown == [0.5]
    latest.shutdown()


def test_nothing_arrives_after_shutdown(qtbot):
    gate, shown = threading.Event(), []
    latest = LatestWins(lambda request: gate.wait(5))
    latest.ready.connect(lambda *_: shown.append(1))
    latest.submit(1)
    latest.shutdown()
    gate.set()
    qtbot.wait(100)
    assert shown == []


def test_a_job_reports_and_finishes(qtbot):
    job, seen, results = LongJob(), [], []
    job.progressed.connect(seen.append)
    job.finished.connect(results.append)

    def work(report, factor):
        for step in range(1, 6):
            report(step, 5, "Working", f"step {step}")
            time.sleep(2 * PROGRESS_MS / 1000)
        return 7 * factor

    job.start(work, 6)
    qtbot.waitUntil(lambda: bool(results), timeout=5000)
    assert results == [42]
    assert [progress.done for progress in seen] == [1, 2, 3, 4, 5]
    assert seen[-1].fraction == 1.0
    assert seen[-1].remaining_s == 0.0
    assert not job.running
    job.shutdown()


def test_progress_is_shown_no_more_often_than_it_can_be_read(qtbot):
    job, seen, results = LongJob(), [], []
    job.progressed.connect(seen.append)
    job.finished.connect(results.append)

    def work(report):
        for text in ("Aligning", "Projecting"):
            for step in range(1, 1001):
                report(step, 1000, text)

    job.start(work)
    qtbot.waitUntil(lambda: bool(results), timeout=20000)
    assert len(seen) < 200, "of 2,000"
    aligning = [progress.done for progress in seen if progress.text == "Aligning"]
    projecting = [progress.done for progress in seen if progress.text == "Projecting"]
    assert (aligning[0], projecting[0], projecting[-1]) == (1, 1, 1000)
    job.shutdown()


def test_a_job_hands_over_parts_of_its_result(qtbot):
    job, came, threads = LongJob(), [], []
    job.came.connect(lambda part: came.append(part))
    job.came.connect(lambda _: threads.append(threading.current_thread()))
    job.finished.connect(came.append)

    def work(report):
        for part in ("first", "second"):
            report.hand_over(part)
        return "all"

    job.start(work)
    qtbot.waitUntil(lambda: "all" in came, timeout=5000)
    assert came == ["first", "second", "all"]
    assert threads == [threading.main_thread()] * 2
    job.shutdown()


def delete(thing: QObject) -> None:
    thing.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.mark.parametrize("shut_down", [True, False])
def test_a_job_outlives_its_window(qtbot, shut_down):
    """A signal of a deleted object would end the process."""
    window = QObject()
    begun, deleted, over = (threading.Event() for _ in range(3))
    job, came = LongJob(window), []
    for signal in (job.progressed, job.came, job.finished, job.failed):
        signal.connect(came.append)

    def work(report):
        begun.set()
        deleted.wait(5)
        report.hand_over("part")
        report.cancelled or report(1, 2)
        over.set()

    job.start(work)
    assert begun.wait(5)  # what waits is dropped
    if shut_down:
        job.shutdown()
    delete(window)
    deleted.set()
    assert over.wait(5)
    job._executor.shutdown()  # waits for the thread
    qtbot.wait(50)
    assert came == []


def test_a_rendering_outlives_its_window(qtbot):
    window, deleted, came = QObject(), threading.Event(), []
    latest = LatestWins(lambda _: deleted.wait(5), window)
    latest.ready.connect(lambda *_: came.append(1))
    latest.submit(1)
    delete(window)
    deleted.set()
    latest._executor.shutdown()
    qtbot.wait(50)
    assert came == []


def test_a_window_may_be_deleted_while_jobs_speak(qtbot):
    for _ in range(20):
        window = QObject()
        started, spoken = [], threading.Event()

        def work(report, started=started, spoken=spoken):
            for step in range(2000):
                report.hand_over(step)
                started.append(step)
            spoken.set()

        job = LongJob(window)
        job.start(work)
        qtbot.waitUntil(lambda started=started: len(started) > 10, timeout=5000)
        delete(window)
        assert spoken.wait(5)
        job._executor.shutdown()


@pytest.mark.parametrize("asks", [True, False])
def test_a_job_is_cancelled_at_its_next_step(qtbot, asks):
    """Whether it asks whether it is cancelled and returns, or is interrupted by its own report."""
    job, outcome = LongJob(), []
    job.cancelled.connect(lambda: outcome.append("cancelled"))
    job.finished.connect(lambda _: outcome.append("finished"))
    started = threading.Event()

    def work(report):
        while not (asks and report.cancelled):
            started.set()
            if not asks:
                report(1, 2)
            time.sleep(0.005)

    job.start(work)
    started.wait(5)
    job.cancel()
    qtbot.waitUntil(lambda: bool(outcome), timeout=5000)
    assert outcome == ["cancelled"]
    job.shutdown()


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_estimate_restarts_with_each_phase():
    seen, clock = [], Clock()
    report = JobProgress(seen.append, clock=clock)
    report(0, 10, "first")
    clock.now = 5.0
    report(5, 10, "first")
    report(0, 100, "second")
    assert seen[1].remaining_s == 5.0
    assert seen[2].remaining_s is None


def test_a_pause_counts_for_no_estimate():
    told, clock = [], Clock()
    report = JobProgress(told.append, clock=clock)
    for done in range(4):
        report(done, 6, "phase")
        clock.now += 2.0
    report.pause(True)
    assert report.paused
    clock.now += 50.0
    report.pause(False)
    assert not report.paused
    report(4, 6, "phase")
    assert told[-1].remaining_s == 4.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (8, "8 s"), (130, "2 min 10 s"), (1500, "25 min"), (3900, "1 h 5 min")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_errors_are_sentences():
    assert sentence(ScanError("Not a scan: open another."), "x") == "Not a scan: open another."
    unexpected = sentence(KeyError("secret"), "rendering")
    assert "rendering" in unexpected
    assert "secret" not in unexpected
    assert "memory" in sentence(MemoryError(), "rendering")
