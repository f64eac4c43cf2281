"""An attempt in a process of its own, which can be killed whatever it does (`@step(isolate=True)`).

The child loads the script, finds the step and calls it; arguments and result cross a pipe in the journal's own format.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import msgspec

from perdure.config.interpreter import module_command
from perdure.config.steady_clock import steady
from perdure.core.exceptions import capture, notes
from perdure.core.execution.idempotency import idempotency_key
from perdure.core.execution.spec import Call, Spec
from perdure.core.process_marks import STEP
from perdure.core.values import artifact_names
from perdure.engines.interface import here
from perdure.engines.runtime import orphans
from perdure.engines.runtime.timeouts import timed_out
from perdure.errors import OptionError, ProcessDied


class Order(msgspec.Struct, frozen=True):
    """What the child is to do. `key` and `n` identify the call; `path` is the list of folders to import from.

    `artifacts` is the folder of large data, if there is one.
    """

    file: str
    module: str
    qualname: str
    input: bytes
    run_id: str
    key: bytes
    n: int
    attempt: int
    path: list[str]
    artifacts: str = ""


class Answer(msgspec.Struct, frozen=True):
    """How it went: the packed result, or the packed fault."""

    ok: bool
    payload: bytes


def check_isolable(spec: Spec) -> None:
    """Refuse what another process could not find.

    Raises:
        OptionError: the function is not at the top level of a file, or in a class there.
    """
    if "<" in spec.fn.__qualname__ or not spec.file or spec.file.startswith("<"):
        raise OptionError(
            f"{spec.owner} cannot be isolated: {spec.fn.__qualname__} is not at the top level of a file",
            "move the function to the top level of the script, so that a process of its own can find it",
        )


def run_isolated(call: Call, run_id: str, attempt: int, seconds: float | None) -> Any:
    """One attempt in a process of its own, which may take so many seconds.

    Raises:
        StepTimeout: it ran out of time and was killed, with all processes that it had started.
        ProcessDied: it ended without an answer.
        Exception: whatever the step raised.
    """
    spec = call.spec
    order = Order(
        spec.file,
        spec.module,
        spec.fn.__qualname__,
        call.input,
        run_id,
        call.key + call.salt,
        call.n,
        attempt,
        sys.path,
        str(artifact_names.folder_here(getattr(here.get(), "scope", None)) or ""),
    )
    mark = orphans.step_mark(run_id, idempotency_key(run_id, spec.name, call.key + call.salt, call.n), attempt)
    reading, writing = os.pipe()
    request_reading, request_writing = os.pipe()
    try:
        process = subprocess.Popen(
            module_command("perdure.engines.runtime.isolated_main", str(request_reading), str(writing)),
            pass_fds=(request_reading, writing),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, STEP: mark},
        )
    finally:
        os.close(request_reading)
        os.close(writing)
    try:
        with os.fdopen(request_writing, "wb") as request:
            request.write(msgspec.msgpack.encode(order))
        data = _read(reading, spec, process, seconds)
    except BaseException:
        _kill(process)
        orphans.end_attempt(mark)  # programs that it has started in groups of their own
        raise
    finally:
        os.close(reading)
        process.wait()
    return _unpack(data, call, process.returncode)


def _read(descriptor: int, spec: Spec, process: subprocess.Popen[bytes], seconds: float | None) -> bytes:
    import select

    deadline = None if seconds is None else steady() + seconds
    chunks: list[bytes] = []
    while True:
        left = None if deadline is None else max(deadline - steady(), 0)
        ready, _, _ = select.select([descriptor], [], [], left)
        if not ready:
            assert seconds is not None
            raise timed_out(spec.owner, seconds)
        chunk = os.read(descriptor, 1 << 20)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()


def _unpack(data: bytes, call: Call, status: int) -> Any:
    if not data:
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit code {status}"
        raise ProcessDied(f"the process of {call.spec.owner} {how} without an answer", "see its own output")
    answer = msgspec.msgpack.decode(data, type=Answer)
    if answer.ok:
        return call.spec.plan.unpack(answer.payload)
    fault = capture.decode(answer.payload)
    error = capture.restore(fault, main=call.spec.module)
    notes.add(error, f"perdure: raised in a process of its own:\n{fault.traceback}")
    raise error
