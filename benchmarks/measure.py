"""One measurement: a fresh process in a fresh state folder, timed, and its work verified from outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import oracle
from cases import Case
from environments import HERE, environment_of, python_of

_IMPORTS = {"floor": "apsw", "perdure": "perdure", "dbos": "dbos", "stitch": "stitch_durable", "huey": "huey"}
_STARTS = 9
_BARE = ["-I", "-c", "pass"]
_PATIENCE_S = 900


class Failure(Exception):
    """A measurement that did not do its work; its figure would be worthless."""


class Measurer:
    """Measures cases in folders below one place on a real disk."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._killed: dict[tuple[str, str, int], Path] = {}

    def measure(self, case: Case, peer: str) -> dict[str, float]:
        """The figures of one case for one peer.

        Raises:
            Failure: the process failed, or what it left on disk is not what it was asked to do.
        """
        return {
            "steps": self._steps,
            "resume": self._resume,
            "import": self._import,
            "program": self._program,
            "command": self._command,
            "bytes": self._bytes,
        }[case.kind](case, peer)

    def _steps(self, case: Case, peer: str) -> dict[str, float]:
        steps = case.steps_of(peer)
        with self._fresh(peer) as state:
            facts = self._work(peer, case.task, state, steps)
            self._verify(peer, state, rows=steps, calls=facts["calls"], expected_calls=steps)
        figures = {"us": facts["seconds"] / steps * 1e6, "rate": steps / facts["seconds"]}
        if "median_step" in facts:
            figures["us_median"] = facts["median_step"] * 1e6
        if "growth" in facts:
            figures["growth"] = facts["growth"]
        return figures

    def _resume(self, case: Case, peer: str) -> dict[str, float]:
        steps = case.steps_of(peer)
        killed = self._killed_state(peer, steps)
        with self._fresh(peer) as state:
            shutil.copytree(killed, state, dirs_exist_ok=True)
            os.sync()
            began = time.monotonic()
            facts = self._work(peer, case.task, state, steps)
            # done: the one step that was still missing. All others must come from the record.
            self._verify(peer, state, rows=steps + 1, calls=facts["calls"], expected_calls=1)
        whole = (facts["at"] - began) * 1e3
        return {"ms": whole, "programs": whole / self._program(case, peer)["ms"]}

    def _killed_state(self, peer: str, steps: int) -> Path:
        """What a process left that had SIGKILLed itself after so many steps; made once, copied for each measurement."""
        key = (peer, "killed", steps)
        if key not in self._killed:
            state = Path(tempfile.mkdtemp(prefix="killed-", dir=self._place))
            process = self._spawn(peer, [str(HERE / "peers" / _worker(peer)), "fill", str(steps)], state, die=True)
            if process.returncode != -signal.SIGKILL:
                raise Failure(f"{peer} was to die of SIGKILL, but: {_last_words(process)}")
            self._verify(peer, state, rows=steps, calls=steps, expected_calls=steps)
            self._killed[key] = state
        return self._killed[key]

    def _import(self, case: Case, peer: str) -> dict[str, float]:
        with self._fresh(peer) as state:
            return self._beside_bare(peer, ["-c", case.task or f"import {_IMPORTS[environment_of(peer)]}"], state)

    def _command(self, case: Case, peer: str) -> dict[str, float]:
        with self._fresh(peer) as state:
            self._start(peer, [str(HERE / "peers" / "program_perdure.py")], state)
            return self._beside_bare(peer, ["-m", *case.task.split()], state)

    def _beside_bare(self, peer: str, arguments: list[str], state: Path) -> dict[str, float]:
        """Whole processes by turns with a Python that does nothing."""
        bare: list[float] = []
        full: list[float] = []
        for _ in range(_STARTS):
            bare.append(self._start(peer, _BARE, state))
            full.append(self._start(peer, arguments, state))
        nothing, something = statistics.median(bare), statistics.median(full)
        return {"ms": (something - nothing) * 1e3, "times": something / nothing}

    def _start(self, peer: str, arguments: list[str], state: Path) -> float:
        began = time.perf_counter()
        process = self._spawn(peer, arguments, state)
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            raise Failure(f"{peer}: {_last_words(process)}")
        return seconds

    def _program(self, case: Case, peer: str) -> dict[str, float]:
        program = str(HERE / "peers" / f"program_{environment_of(peer)}.py")
        with self._fresh(peer) as state:
            began = time.perf_counter()
            process = self._spawn(peer, [program], state)
            seconds = time.perf_counter() - began
            if process.returncode != 0 or process.stdout.strip() != "6":
                raise Failure(f"the program of {peer} did not print 6: {_last_words(process)}")
            if not oracle.state_file(peer, state).exists():
                raise Failure(f"the program of {peer} left no state file")
            bare = statistics.median(self._start(peer, _BARE, state) for _ in range(3))
        return {"ms": seconds * 1e3, "times": seconds / bare}

    def _bytes(self, case: Case, peer: str) -> dict[str, float]:
        steps = case.steps_of(peer)
        sizes = []
        for count in (0, steps):
            with self._fresh(peer) as state:
                facts = self._work(peer, case.task, state, count)
                self._verify(peer, state, rows=count, calls=facts["calls"], expected_calls=count)
                sizes.append(oracle.truncated_size(peer, state))
                payload = oracle.payload_bytes(peer, state) if count and peer in ("floor", "perdure") else 0.0
        return {"bytes": (sizes[1] - sizes[0]) / steps, "payload": payload}

    def _work(self, peer: str, task: str, state: Path, steps: int) -> dict[str, float]:
        process = self._spawn(peer, [str(HERE / "peers" / _worker(peer)), task, str(steps)], state)
        if process.returncode != 0:
            raise Failure(f"{peer}, {task}: {_last_words(process)}")
        facts: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
        return facts

    def _verify(self, peer: str, state: Path, *, rows: int, calls: float, expected_calls: int) -> None:
        if calls != expected_calls:
            raise Failure(f"{peer}: step bodies ran {calls:.0f} times instead of {expected_calls}")
        found = oracle.completed_steps(peer, state)
        if found != rows:
            raise Failure(f"{peer}: {found} completed steps on disk instead of {rows}")
        wanted = "delete" if peer == "dbos" else "wal"
        if (mode := oracle.journal_mode(peer, state)) != wanted:
            raise Failure(f"{peer} runs with journal_mode={mode} instead of {wanted}")

    def _spawn(
        self, peer: str, arguments: list[str], state: Path, *, die: bool = False
    ) -> subprocess.CompletedProcess[str]:
        dropped = ("PERDURE_", "DBOS_", "PYTHON", "WORKFLOW_", "BENCH_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        environment |= {"BENCH_STATE": str(state), "PERDURE_STATE": str(oracle.state_file("perdure", state))}
        if peer == "dbos-full":
            environment["BENCH_FULL"] = "1"
        if die:
            environment["BENCH_DIE"] = "1"
        return subprocess.run(
            [str(python_of(peer)), *arguments],
            env=environment,
            cwd=state,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )

    @contextlib.contextmanager
    def _fresh(self, peer: str) -> Iterator[Path]:
        state = Path(tempfile.mkdtemp(prefix=f"{peer}-", dir=self._place))
        # what others left to be written must not be flushed on this peer's account
        os.sync()
        try:
            yield state
        finally:
            shutil.rmtree(state)


def _worker(peer: str) -> str:
    return f"on_{environment_of(peer)}.py"


def _last_words(process: subprocess.CompletedProcess[str]) -> str:
    words = "\n".join((process.stderr or process.stdout).strip().splitlines()[-12:])
    return f"exit status {process.returncode}\n{words}"
