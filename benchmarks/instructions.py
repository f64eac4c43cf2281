"""Where the instructions of a step go: `python benchmarks/instructions.py [WORKLOAD ...]`, with perdure installed.

Unlike times, these figures are nearly the same on a busy machine. Of each workload it prints

- the machine instructions a step, by what executes them: the interpreter, SQLite, the C of asyncio, and so on. They are
  counted by callgrind (`apt-get install valgrind`); where it is missing, this part is left out. The kernel's are not
  among them. A microsecond is about 8,000.
- the bytecodes that the interpreter executes a step, by file, and how many functions are entered there. What a change
  of the code costs shows here.

`--source SRC` counts another tree (the `src` of a commit) instead of the perdure that is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

WORKLOADS = {
    "w1": "steps in a loop",
    "w1-budget": "the same in a budget",
    "w1-guards": "the same in a budget, with `ensure` and `max_repeats`",
    "w1-spend": "the same, and each says what it has spent",
    "w2-async": "workflows of 20 steps in one loop",
    "w2-threads": "workflows of 20 steps in threads",
    "w3-async": "a map of async steps, 1,000 in flight",
    "w3-threads": "a map of steps, 64 threads",
    "begin-end": "workflows of one step, one after the other",
    "enqueue": "runs that a workflow enqueues, one after the other",
    "enqueue-many": "the same, 1,000 with one call from outside",
    "signals": "signals that lie there already, each waited for and taken",
    "queue": "queued runs of an empty workflow, claimed and executed by an executor of 100 slots",
}
SIZES = {"w1": 300, "w2-async": 600, "w2-threads": 600, "w3-async": 2_000, "w3-threads": 1_000}
SIZES |= {"w1-budget": 300, "w1-spend": 300, "w1-guards": 300}
SIZES |= {"begin-end": 60, "enqueue": 200, "enqueue-many": 1_000, "signals": 200, "queue": 500}
SHARE = 20
QUEUED = """
from perdure import wait_for, workflow

@workflow
def empty(number: int) -> None:
    pass

@workflow
def listener(times: int) -> None:
    for _ in range(times):
        wait_for("said", type=float)
"""
GUARDS = {"w1-budget": "budget of dollars", "w1-guards": "all guards", "w1-spend": "all, and spend"}
"""The cases of `guards.py` that are counted."""
PARTS = (
    ("SQLite", r"apsw|sqlite"),
    ("asyncio's C", r"_asyncio"),
    ("msgspec", r"msgspec"),
    ("hashes", r"_blake2|_hashlib|libcrypto"),
    ("zlib", r"libz|zlib"),
    ("the interpreter's loop", r"^_PyEval|fn:_PyEval"),
    ("the interpreter's memory", r"obmalloc|malloc|_Py_Dealloc|gcmodule|gc_collect|PyObject_GC|_int_free|memset"),
    ("libc and the loader", r"libc[.-]|ld-linux|libpthread|libm[.-]"),
    ("the rest of the interpreter", r""),
)
"""By the first pattern that is found in the library, the function or the source file that an instruction belongs to."""


def main() -> None:
    """Prints the table of each workload that is asked for."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("workloads", nargs="*", default=list(WORKLOADS), metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--source", help="the folder that perdure is imported from")
    parser.add_argument("--files", type=int, default=16, help="how many files are printed")
    parser.add_argument("--inside", choices=("callgrind", "bytecodes"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := set(given.workloads) - set(WORKLOADS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    if given.inside:
        (name,) = given.workloads
        Inside(name).measure(given.inside)
        return
    for name in given.workloads:
        print(f"\n{name}: {WORKLOADS[name]}")
        if shutil.which("callgrind_control"):
            show("instructions a step", by_callgrind(name, given.source), len(PARTS))
        bytecodes, entered = by_bytecodes(name, given.source)
        show("bytecodes a step, and functions entered", bytecodes, given.files, entered)


def show(title: str, found: Counter[str], most: int, more: Counter[str] | None = None) -> None:
    """Print what was counted a step, the largest parts first."""
    print(f"  {sum(found.values()):>9,.0f}  {title}")
    for part, count in found.most_common(most):
        print(f"  {count:>9,.0f}  {more[part] if more else 0:>6.1f}  {part}" if more else f"  {count:>9,.0f}  {part}")


def by_callgrind(name: str, source: str | None) -> Counter[str]:
    """The machine instructions of a step, by part."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        tool = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--fair-sched=try")
        run_inside((*tool, f"--callgrind-out-file={out}"), name, "callgrind", source)
        return parts_of(Path(f"{out}.1").read_text(), SIZES[name])


def by_bytecodes(name: str, source: str | None) -> tuple[Counter[str], Counter[str]]:
    """The bytecodes of a step, and the functions that it enters, by file."""
    bytecodes, entered = json.loads(run_inside((), name, "bytecodes", source))
    return Counter(bytecodes), Counter(entered)


def run_inside(tool: tuple[str, ...], name: str, how: str, source: str | None) -> str:
    """A process of its own that executes a workload; what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "WORKFLOW_"))}
        kept |= {"PERDURE_STATE": os.path.join(folder, "state.db"), "PYTHONHASHSEED": "0"}
        if source:
            kept["PYTHONPATH"] = source
        command = (*tool, sys.executable, __file__, name, "--inside", how)
        done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def parts_of(text: str, steps: int) -> Counter[str]:
    """The instructions in a file of callgrind's, by part."""
    names: dict[tuple[str, str], str] = {}
    place = {"ob": "", "fl": "", "fn": ""}
    found: Counter[str] = Counter()
    part, of_callee = "", False
    known: dict[tuple[str, ...], str] = {}
    for line in text.splitlines():
        if line[:1].isdigit() or line[:1] in "+-*":
            if not of_callee and len(costs := line.split()) > 1:  # a cost of none is left out
                found[part] += int(costs[1]) / steps  # type: ignore[assignment]
            of_callee = False
        elif line.startswith("calls="):
            of_callee = True
        elif (match := re.match(r"(c?)(ob|fl|fi|fe|fn)=\((\d+)\)(?: (.*))?", line)) is not None:
            callee, kind, number, name = match.groups()
            table = kind if kind in ("ob", "fn") else "fl"
            if name is not None:
                names[table, number] = name
            if not callee:
                place[table] = names[table, number]
                where = tuple(place.values())
                if where not in known:
                    text_of = f"{place['ob']} {place['fl']} fn:{place['fn']}"
                    known[where] = next(part for part, pattern in PARTS if re.search(pattern, text_of))
                part = known[where]
    return found


class Inside:
    """In the process whose work is counted.

    Args:
        name: the workload.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps = SIZES[name]
        self.links: list[socket.socket] = []

    def measure(self, how: str) -> None:
        """Execute it once to warm up, and once more, counted."""
        counted = by_control if how == "callgrind" else trace
        look_once()
        sys.setswitchinterval(0.05)  # as often as on a machine that executes it 10 times as fast
        if self.name.endswith("async"):

            async def twice() -> None:
                await self.alone(1)
                await counted_in_loop(counted, lambda: self.alone(self.steps))

            asyncio.run(twice())
        elif self.name == "queue":
            self.executor(1)()
            counted(self.executor(self.steps))
        elif self.name == "signals":
            self.listener(1)()
            counted(self.listener(self.steps))
        else:
            self.work(1)
            counted(lambda: self.work(self.steps))

    async def alone(self, steps: int) -> None:
        """So many steps in the loop."""
        from perdure import step, workflow

        @step(name="counted")
        async def counted(i: int) -> int:
            return i % 97

        @workflow(name="items")
        async def items(steps: int) -> int:
            return len((await counted.map(range(steps), concurrency=1_000)).results)

        @workflow(name="loop")
        async def loop(steps: int, tag: int) -> None:
            for i in range(steps):
                await counted(i)

        if self.name == "w3-async":
            await items(steps)
        else:
            await asyncio.gather(*(loop(SHARE, steps + k) for k in range(max(steps // SHARE, 1))))

    def queued(self, name: str = "empty") -> Any:
        """A workflow of a script of its own, where a worker finds it: one that does nothing, or `listener`."""
        from perdure.config.script_loader import load_script

        script = Path(os.environ["PERDURE_STATE"]).with_name("queued.py")
        script.write_text(QUEUED)
        return getattr(load_script(script), name)

    def executor(self, runs: int) -> Callable[[], object]:
        """Enqueue so many runs; what executes them."""
        from perdure.engines.local.worker.executor import Executor
        from perdure.engines.local.worker.messages import Idle, Orders, Retire, of_executor, of_supervisor, send

        empty = self.queued()
        empty.enqueue_many([(number,) for number in range(runs)])
        here, there = socket.socketpair()
        self.links.append(here)  # an executor whose supervisor has gone ends its process
        script = str(sys.modules[empty.__module__].__file__)
        executor = Executor(there, Orders(os.environ["PERDURE_STATE"], [script], [], "", [], 100, once=True))

        def supervise() -> None:
            if any(isinstance(message, Idle) for message in of_executor(here)):
                send(here, Retire())

        threading.Thread(target=supervise, daemon=True).start()
        threading.Thread(target=executor.listen, args=(of_supervisor(there),), daemon=True).start()
        return executor.serve

    def listener(self, steps: int) -> Callable[[], object]:
        """Send so many signals; what waits for them, one after the other."""
        import perdure

        listener = self.queued("listener").with_options(id=f"listener-{steps}")
        listener.enqueue(steps)
        for number in range(steps):
            perdure.signal(f"listener-{steps}", "said", float(number))
        return lambda: listener(steps)

    def work(self, steps: int) -> None:
        """So many steps in this thread, or in threads."""
        import guards

        from perdure import step, workflow

        @step(name="counted")
        def counted(i: int) -> int:
            return i % 97

        @workflow(name="items")
        def items(steps: int) -> int:
            return len(counted.map(range(steps), concurrency=64).results)

        @workflow(name="loop")
        def loop(steps: int, tag: int) -> None:
            for i in range(steps):
                counted(i)

        if self.name == "enqueue":
            empty = self.queued()

            @workflow(name="sender")
            def sender(steps: int) -> None:
                for i in range(steps):
                    empty.enqueue(i)

            sender(steps)
        elif self.name == "enqueue-many":
            self.queued().enqueue_many([(i,) for i in range(steps)])
        elif self.name == "w3-threads":
            items(steps)
        elif self.name in GUARDS:
            guards.w1(GUARDS[self.name], steps, steps)
        elif self.name == "w1":
            loop(steps, steps)
        elif self.name == "begin-end":
            for k in range(steps):
                loop(1, steps + k)
        else:
            threads = [threading.Thread(target=loop, args=(SHARE, steps + k)) for k in range(max(steps // SHARE, 1))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def look_once() -> None:
    """What looks again after some milliseconds does not do so at each step, though it is executed so slowly."""
    for module, name in (("watch", "LOOK_AGAIN"), ("flight_recorder", "MOVED")):
        with suppress(ImportError):
            setattr(import_module(f"perdure.store.{module}"), name, 1e6)


Counting = Callable[[Callable[[], Any]], Any]


async def counted_in_loop(counting: Counting, work: Callable[[], Any]) -> None:
    """Count what a coroutine does, which `work` makes."""
    await counting(work)


def by_control(work: Callable[[], Any]) -> Any:
    """Have callgrind count what `work` does."""
    control("--instr=on")
    control("--zero")
    return after(work(), lambda: control("--dump"))


def after(result: Any, end: Callable[[], None]) -> Any:
    """Call `end` when the work is done: now, or when what it has returned was awaited."""
    if not asyncio.iscoroutine(result):
        end()
        return result

    async def whole() -> None:
        await result
        end()

    return whole()


def control(command: str) -> None:
    """Tell callgrind, which listens while instructions are executed."""
    with subprocess.Popen(
        ("callgrind_control", command, str(os.getpid())), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as told:
        while told.poll() is None:
            sum(range(100))


def trace(work: Callable[[], Any]) -> Any:
    """Count the bytecodes of what `work` does, in all threads, and print them."""
    bytecodes: Counter[CodeType] = Counter()
    entered: Counter[CodeType] = Counter()
    lock = threading.Lock()

    def local(frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            bytecodes[frame.f_code] += 1
        return local

    def begin(frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        with lock:
            entered[frame.f_code] += 1
        return local

    def end() -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        steps = SIZES[sys.argv[1]]
        tables: list[Counter[str]] = [Counter(), Counter()]
        for counts, table in zip((bytecodes, entered), tables, strict=True):
            for code, count in counts.items():
                table[short(code.co_filename)] += count / steps  # type: ignore[assignment]
        print(json.dumps(tables))

    threading.settrace(begin)
    sys.settrace(begin)
    return after(work(), end)


def short(path: str) -> str:
    """A file, by its place in the package that it belongs to."""
    if path == __file__:
        return "(the step itself)"
    found = re.search(r"(?:perdure|site-packages|lib/python[\d.]+)/(?!.*(?:src/perdure|site-packages)/)(.*)", path)
    return found[1] if found else path


if __name__ == "__main__":
    main()
