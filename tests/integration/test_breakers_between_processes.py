"""Processes of one state file know together what is wrong with a service: real ones, and a real service that counts."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

import pytest
from service import serving

from conftest import Scripts
from waiting import until

CALLERS = """
    import os, sys, urllib.request
    from perdure import Retry, step, workflow
    from perdure.api.breaker import Breaker

    @step(
        breaker=Breaker("svc", failures=1, cooldown="400ms"),
        retry=Retry(attempts=50, delay="1ms", jitter=0),
        timeout=None,
    )
    def call(n: int) -> int:
        return urllib.request.urlopen(f"{sys.argv[1]}{os.getpid()}", timeout=300).status

    @workflow
    def main(process: int) -> int:
        return len(call.map(range(12), concurrency=4).results)

    print(main(int(sys.argv[2])))
"""


COOL_DOWN = 0.4
"""Seconds."""


class Crowd:
    """Answers only when all threads of all processes have called: none has heard of a failure by then, so that what
    comes later comes through the open breaker."""

    def __init__(self, processes: int) -> None:
        self.size = processes * 4
        self._all = threading.Barrier(self.size)
        self._first = iter(range(self.size))

    def fails(self) -> bool:
        """Is this one of the first calls?"""
        if next(self._first, None) is None:
            return False
        self._all.wait(60)
        return True


def test_one_probe_for_each_cool_down(scripts: Scripts) -> None:
    """Four processes with four threads each call a service that is down for a while: once the breaker is open, the
    service sees one call in each cool-down, and all are done when it is well."""
    crowd = Crowd(4)
    well_after = 6

    def answer(caller: str) -> tuple[int, dict[str, str]]:
        down = crowd.fails() or len(service.calls) < crowd.size + well_after
        return (500 if down else 200), {}

    with serving(answer) as service:
        path = scripts.write(CALLERS)
        state = str(scripts.folder / "state.db")
        processes = [scripts.start(path, service.url, str(number), PERDURE_STATE=state) for number in range(4)]
        outs = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in outs] == ["12"] * 4, outs
    # A probe that comes late makes the next one later, too: it is the failed probe that begins the cool-down.
    probes = [at for at, _ in service.calls[crowd.size : crowd.size + well_after]]
    gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert min(gaps) >= COOL_DOWN, gaps


def test_a_killed_prober_is_replaced_at_once(scripts: Scripts) -> None:
    """The probe hangs in the service; its process is killed with SIGKILL; another process probes: nothing else would
    ever free the place of the first, which has no timeout."""
    crowd = Crowd(3)
    hanging = threading.Event()
    probers: list[str] = []

    def answer(caller: str) -> tuple[int, dict[str, str]]:
        if crowd.fails():
            return 500, {}
        probers.append(caller)
        if len(probers) == 1:
            hanging.wait(300)
        return 200, {}

    with serving(answer) as service:
        path = scripts.write(CALLERS)
        state = str(scripts.folder / "state.db")
        processes = [scripts.start(path, service.url, str(number), PERDURE_STATE=state) for number in range(3)]
        until(lambda: probers, "a probe")
        killed = next(process for process in processes if process.pid == int(probers[0]))
        killed.kill()
        outs = [process.communicate(timeout=60) for process in processes if process is not killed]
        assert not hanging.is_set()
        hanging.set()
        killed.communicate(timeout=60)
    assert [out.strip() for out, _ in outs] == ["12"] * 2, outs


def test_a_job_that_comes_back_within_the_cool_down_does_not_call(scripts: Scripts) -> None:
    """As under cron: the first run finds the service dead, the next ones leave it alone until it has cooled down."""
    with serving(lambda caller: (503, {})) as service:
        path = scripts.write(
            """
            import sys, urllib.request
            from perdure import Retry, step, workflow
            from perdure.api.breaker import Breaker

            @step(breaker=Breaker("svc", when_open="fail", cooldown="10m"), retry=Retry(delay="1ms", jitter=0))
            def call() -> int:
                return urllib.request.urlopen(sys.argv[1], timeout=60).status

            @workflow
            def job() -> int:
                return call()

            job()
            """
        )
        first = scripts.run(path, service.url)
        assert "HTTP Error 503" in first.stderr
        assert len(service.calls) == 3
        for _ in range(2):
            again = scripts.run(path, service.url)
            assert again.returncode == 1
            assert "breaker-open" in again.stderr
        assert len(service.calls) == 3


# -- rate limits ------------------------------------------------------------------------------------------------------


LIMITED = """
    import os, sys, time, urllib.request
    from perdure import Retry, step, workflow

    from perdure.core.policies import rate

    ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    take, pause = rate.take, rate.pause

    def noting(state, limit, now, turn=None):
        # In the transaction that decides, and not in the step: a process may be stopped between the two.
        after, queued = take(state, limit, now, turn)
        what, at = ("goes", now) if queued is None else ("asks", queued.turn.at)
        if queued is None or turn is None:
            os.write(ledger, f"{what} {at!r} {os.getpid()}\\n".encode())
        return after, queued

    def pausing(state, now, seconds):
        os.write(ledger, f"pauses {now!r} {os.getpid()}\\n".encode())
        return pause(state, now, seconds)

    rate.take, rate.pause = noting, pausing

    @step(rate="50/s", timeout=None, retry=Retry(jitter=0))
    def call(n: int) -> None:
        if sys.argv[1] != "-":
            urllib.request.urlopen(sys.argv[1], timeout=60)

    @workflow
    def main(process: int) -> int:
        return len(call.map(range(40), concurrency=4).results)

    sys.stdin.readline()
    print(main(int(sys.argv[3])))
"""


def decisions(scripts: Scripts, url: str) -> list[tuple[str, float, str]]:
    """What was decided for the calls of four processes, which begin together: that one goes, or asks for a turn and
    has it when, or that all pause; and whose."""
    path, ledger = scripts.write(LIMITED), scripts.folder / "ledger"
    processes = [
        scripts.start(path, url, str(ledger), str(number), PERDURE_STATE=str(scripts.folder / "state.db"))
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert out.strip() == "40", err
    lines = (line.split() for line in ledger.read_text().splitlines())
    return [(what, float(at), pid) for what, at, pid in lines]


def test_four_processes_keep_one_limit(scripts: Scripts) -> None:
    """At "50/s" no second holds more than fifty calls, the limit is used, and every process gets its share."""
    decided = decisions(scripts, "-")
    goes = [at for what, at, _ in decided if what == "goes"]
    assert sorted(Counter(pid for what, _, pid in decided if what == "goes").values()) == [40] * 4
    for first, later in zip(goes, goes[50:], strict=False):
        assert later - first >= 1.0
    # Whoever asks has the next turn, whichever process it is in; and turns are as close as the limit lets them be,
    # unless the one before has started late.
    turns = [at for what, at, _ in decided if what == "asks"]
    assert turns == sorted(turns)
    gaps = [later - earlier for earlier, later in itertools.pairwise(turns)]
    assert min(gaps) == pytest.approx(1.03 / 50, abs=1e-6)


def test_after_a_429_all_processes_pause(scripts: Scripts) -> None:
    """One of them is told to wait for a second: nobody calls in that second, but for those who were on their way."""
    told: list[str] = []

    def answer(caller: str) -> tuple[int, dict[str, str]]:
        with service.lock:
            if len(service.calls) >= 60 and not told:
                told.append(caller)
                return 429, {"Retry-After": "1"}
        return 200, {}

    with serving(answer) as service:
        decided = decisions(scripts, service.url)
    assert len(service.calls) == 161
    (paused,) = (number for number, (what, *_) in enumerate(decided) if what == "pauses")
    until_then = decided[paused][1] + 1
    within = [at for what, at, _ in decided[paused:] if what == "goes" and at < until_then]
    assert len(within) <= 16, "at most one in each thread"
