"""Processes of one state file know together what is wrong with a service: real ones, and a real service that counts."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable

from service import serving

from conftest import Scripts

CALLERS = """
    import os, sys, urllib.request
    from perdure import Retry, step, workflow
    from perdure.api.breaker import Breaker

    @step(breaker=Breaker("svc", cooldown="400ms"), retry=Retry(attempts=50, delay="1ms", jitter=0), timeout="30s")
    def call(n: int) -> int:
        return urllib.request.urlopen(f"{sys.argv[1]}{os.getpid()}", timeout=60).status

    @workflow
    def main(process: int) -> int:
        return len(call.map(range(12), concurrency=4).results)

    print(main(int(sys.argv[2])))
"""


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def test_one_probe_for_each_cool_down(scripts: Scripts) -> None:
    """Four processes with four threads each call a service that is down for a while: once the breaker is open, the
    service sees one call in each cool-down, and all are done when it is well."""
    down = threading.Event()
    with serving(lambda caller: (200, {}) if down.is_set() else (500, {})) as service:
        path = scripts.write(CALLERS)
        state = str(scripts.folder / "state.db")
        processes = [scripts.start(path, service.url, str(number), PERDURE_STATE=state) for number in range(4)]
        until(lambda: len(service.calls) > 3)
        until(lambda: time.time() - service.calls[0][0] > 4)
        down.set()
        ended = time.time()
        outs = [process.communicate(timeout=60) for process in processes]
    assert [out.strip() for out, _ in outs] == ["12"] * 4, outs
    # Those who had been let through before it opened, by an older success or by processes that came later, are first.
    failed = [at for at, _ in service.calls if at < ended]
    opened = failed[2]
    probes = [at for at in failed if at > opened + 0.35]
    assert len(probes) >= 4
    gaps = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert min(gaps) >= 0.4, gaps
    assert len(failed) - len(probes) <= 16


def test_a_killed_prober_is_replaced_at_once(scripts: Scripts) -> None:
    """The probe hangs in the service; its process is killed with SIGKILL; another process probes without waiting for
    any timeout."""
    hanging = threading.Event()
    probers: list[str] = []

    def answer(caller: str) -> tuple[int, dict[str, str]]:
        if len(service.calls) <= 3 or (not probers and time.time() < service.calls[2][0] + 0.35):
            return 500, {}
        probers.append(caller)
        if len(probers) == 1:
            hanging.wait(60)
        return 200, {}

    with serving(answer) as service:
        path = scripts.write(CALLERS)
        state = str(scripts.folder / "state.db")
        processes = [scripts.start(path, service.url, str(number), PERDURE_STATE=state) for number in range(3)]
        until(lambda: probers)
        quiet = len(service.calls)
        time_of_kill = time.time()
        os.kill(int(probers[0]), signal.SIGKILL)
        until(lambda: len(service.calls) > quiet, 5)
        assert service.calls[quiet][0] - time_of_kill < 2
        outs = [process.communicate(timeout=60) for process in processes if process.pid != int(probers[0])]
        hanging.set()
        next(process for process in processes if process.pid == int(probers[0])).communicate(timeout=60)
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

    ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @step(rate="50/s", timeout=None, retry=Retry(jitter=0))
    def call(n: int) -> None:
        os.write(ledger, f"{time.time()} {os.getpid()}\\n".encode())
        if sys.argv[1] != "-":
            urllib.request.urlopen(sys.argv[1], timeout=60)

    @workflow
    def main(process: int) -> int:
        return len(call.map(range(40), concurrency=4).results)

    sys.stdin.readline()
    print(main(int(sys.argv[3])))
"""


def starts(scripts: Scripts, url: str) -> list[tuple[float, str]]:
    """When the calls of four processes started, which begin together; and in which."""
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
    return sorted((float(at), pid) for at, pid in lines)


def test_four_processes_keep_one_limit(scripts: Scripts) -> None:
    """At "50/s" no second holds more than fifty calls, the limit is used, and every process gets its share."""
    calls = starts(scripts, "-")
    assert len(calls) == 160
    for (first, _), (later, _) in zip(calls, calls[50:], strict=False):
        assert later - first >= 1.0
    assert calls[-1][0] - calls[0][0] <= 160 / 50 * 1.5
    pids = {pid for _, pid in calls}
    together = max(next(at for at, who in calls if who == pid) for pid in pids)
    last = min(max(at for at, who in calls if who == pid) for pid in pids)
    shared = [pid for at, pid in calls if together <= at <= last]
    assert len(pids) == 4
    for pid in pids:
        assert 0.15 <= shared.count(pid) / len(shared) <= 0.35


def test_after_a_429_all_processes_pause(scripts: Scripts) -> None:
    """One of them is told to wait for a second: nobody calls in that second."""
    told: list[float] = []

    def answer(caller: str) -> tuple[int, dict[str, str]]:
        with service.lock:
            if len(service.calls) >= 60 and not told:
                told.append(time.time())
                return 429, {"Retry-After": "1"}
        return 200, {}

    with serving(answer) as service:
        starts(scripts, service.url)
    within = [at - told[0] for at, _ in service.calls if told[0] + 0.1 < at < told[0] + 0.99]
    assert len(service.calls) == 161
    assert within == []
