"""The child's side of attempts in other processes: it reads orders and writes answers until no more come.

It is a copy of a template (template_main.py), or, where those are not to be had, a program whose argument is the
descriptor of the connection.
"""

from __future__ import annotations

import atexit
import copy
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from perdure.config import command_line
from perdure.config.script_identity import point_out
from perdure.config.script_loader import is_at_end, load_module, load_script, only_loads
from perdure.config.stderr_line import say
from perdure.core.exceptions import capture
from perdure.core.exceptions.program_faults import suspicion
from perdure.core.execution.identity import refuse_changed_defaults, watch_defaults
from perdure.core.execution.spec import Call, Spec
from perdure.core.process_marks import STEP
from perdure.core.records import Place
from perdure.core.redaction.printable import one_line
from perdure.core.values import artifact_names, codec
from perdure.engines import registry
from perdure.engines.interface import StepContext, here
from perdure.engines.processes import forwarded_logs
from perdure.engines.processes.messages import ANSWER, Answer, Order, Setup, frame, import_from, read_frame
from perdure.engines.processes.orderer import Orderer
from perdure.engines.runtime import captured_lines
from perdure.errors import NotFound

_decode_setup = msgspec.msgpack.Decoder(Setup).decode
_decode_order = msgspec.msgpack.Decoder(Order).decode
_encode = msgspec.msgpack.Encoder().encode


def main() -> None:
    """A program of its own: serve, and end as Python does."""
    only_loads()
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        code = serve(connection, Steps())
    is_at_end()
    sys.exit(code)


def serve(connection: socket.socket, steps: Steps, finish: Callable[[], None] | None = None) -> int:
    """Make the attempts that are ordered; returns the exit code.

    Args:
        connection: to the process that orders them.
        steps: what may be ordered.
        finish: is called before the last answer is given.
    """
    own = os.getpid()
    try:
        data = read_frame(connection)
        if data is None:
            return 0  # nobody needs it any more
        setup = _decode_setup(data)
        _set_up(setup)
        while (data := read_frame(connection)) is not None:
            order = _decode_order(data)
            orderer = Orderer(connection, publishes=order.run.publishes, workflow=order.run.workflow)
            answer = steps.attempt(setup, order, orderer)
            orderer.end()
            if os.getpid() != own:
                _leave_copy(order)
            _flush()  # what it has printed is not to be lost with a later attempt
            if order.last and finish is not None:
                finish()
            connection.sendall(frame(ANSWER + _encode(answer)))
            if order.last:
                break
    except SystemExit as stop:
        return _code_of(stop)
    except OSError as error:
        if isinstance(error, ConnectionError):
            return 0  # the process that ordered it is gone
        traceback.print_exc()
        return 1
    except BaseException:  # noqa: BLE001  as the interpreter does at the end of a program
        traceback.print_exc()
        return 1
    return 0


def finish() -> None:
    """What a program does at its end, in a copy of a template: threads, what `atexit` knows, streams."""
    is_at_end()
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with suppress(BaseException):
        atexit._run_exitfuncs()
    _flush()


class Steps:
    """The steps of a script that is loaded, or will be at the first order."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Spec, codec.InputReader]] = {}
        self._loggers_set = False
        self._is_ready = False

    def prepare(self, spec: Spec) -> tuple[Spec, codec.InputReader]:
        """Find out all that the first call needs."""
        spec.plan.refuse_unstorable()
        found = self._known[spec.name, spec.qualname] = spec, spec.input_reader()
        return found

    def attempt(self, setup: Setup, order: Order, orderer: Orderer) -> Answer:
        """Make an attempt; `orderer` hears what it says. What is not an Exception ends the process."""
        token = None
        try:
            spec, reader = self._find(setup, order)
            if not self._is_ready:
                self._is_ready = True
                orderer.ready()
            args, kwargs = spec.arguments(order.input, reader)
            call = Call(spec, tuple(args), kwargs, order.input, order.key)
            call.n = order.n
            watch_defaults(call)
            artifact_names.isolated = Path(os.fsdecode(order.run.artifacts)) if order.run.artifacts else None
            os.environ[STEP] = order.mark
            context = StepContext(order.run.id, call, order.attempt, None)
            context.orderer, context.ordered_tick = orderer, order.run.tick
            context.lines = orderer if order.run.keeps else None
            token = here.set(context)
            captured_lines.wrap()
            value: Any = spec.fn(*args, **kwargs)
            if spec.is_async:
                import asyncio

                from perdure.engines.runtime.error_bodies import with_bodies_kept

                value = asyncio.run(with_bodies_kept(value))
            if spec.signature.changing:
                refuse_changed_defaults(call)
            return Answer(True, spec.plan.pack(value))
        except Exception as error:  # noqa: BLE001  it is the parent's to judge
            from perdure.engines.runtime.error_bodies import keep_bodies

            keep_bodies(error)
            return Answer(False, capture.to_record(error, "")[0], suspicion(error))
        finally:
            if token is not None:
                forwarded_logs.end_line()
                here.reset(token)

    def _look_up(self, setup: Setup, order: Order) -> Spec:
        place = Place(setup.module, order.qualname)
        try:
            return registry.find_step(place, order.defined_as, order.input)
        except NotFound:
            script = os.fsdecode(order.run.script)
            if not os.path.isfile(script) or os.path.samefile(script, os.fsdecode(setup.file)):
                raise
            load_script(script, quiet=True)
            return registry.find_step(place, order.defined_as, order.input)

    def _find(self, setup: Setup, order: Order) -> tuple[Spec, codec.InputReader]:
        # The order comes from the parent through a socket; it is not stored data.
        found = self._known.get((order.name, order.qualname))
        if found is None or found[0].signature.is_remade:
            load_module(setup.module, os.fsdecode(setup.file))
            spec = self._look_up(setup, order)
            if order.name != spec.name:  # a clean-up, which has keys of its own
                spec = copy.copy(spec)
                spec.name = order.name
            found = self.prepare(spec)
        if not self._loggers_set:
            self._loggers_set = True
            _set_levels(setup.levels)
        return found


def _set_up(setup: Setup) -> None:
    forwarded_logs.set_up(setup.logs)
    import_from(setup.path)
    command_line.take(setup.line)
    wanted, there = dict(setup.environment), os.environb
    for name in there.keys() - wanted.keys():
        del there[name]
    for name, value in wanted.items():
        if there.get(name) != value:
            there[name] = value
    with suppress(OSError):  # it is gone, there as well
        os.chdir(setup.folder)


def _leave_copy(order: Order) -> NoReturn:
    """End a copy of this process that has come back from the step which has made it: it has no part in what follows."""
    point_out(
        f"step {one_line(order.name)!r} has made a copy of its process, which has come back from the step; it ends "
        "here, and nothing that it has done is saved. End it in the step: os._exit(0)"
    )
    _flush()
    os._exit(1)


def _set_levels(levels: list[tuple[str, int]]) -> None:
    """Have loggers pass on what those of the process that orders pass on, unless the script has set them as it loads.

    What `if __name__ == "__main__":` sets up is set up there alone.
    """
    if "logging" not in sys.modules:
        return
    import logging

    for name, level in levels:
        logger = logging.getLogger(name)
        as_it_was = logging.WARNING if logger is logging.root else logging.NOTSET
        if logger.level == as_it_was and not logger.handlers:
            logger.setLevel(level)


def _code_of(stop: SystemExit) -> int:
    """The exit code that Python ends with, after it has said what there is to say."""
    if stop.code is None or isinstance(stop.code, int):
        return (stop.code or 0) & 0xFF
    with suppress(Exception):
        say(str(stop.code))
    return 1


def _flush() -> None:
    forwarded_logs.end_line()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
