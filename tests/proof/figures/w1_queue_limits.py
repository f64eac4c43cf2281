"""W1: workers and their executors are killed while a server counts how many runs of each queue are inside."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socketserver
import threading
import time
from collections import Counter

from tests.proof.form import Figures, Proof
from tests.proof.serving import PATIENCE, Place, Unserved, children, until, while_moving

WIDE, NARROW = 5, 1
"""Runs that may be inside of each queue; of the wide one at most one of each key."""

KEYS = 12
WORKERS, SLOTS = 4, 4
LATEST = 2.0
"""Seconds after a kill until the queue is full again."""

LONGEST = 20.0
"""Seconds that a run is kept inside at most."""

PER_KILL = 40
"""Runs that are queued for each kill: enough that there is always one more."""

SCRIPT = """
import os, socket, time
import perdure
from perdure import step, workflow
wide = perdure.Queue("wide", concurrency=int(os.environ["WIDE"]), per_key=1)
narrow = perdure.Queue("narrow", concurrency=int(os.environ["NARROW"]))
@step
def work(n: int, key: str, queue: str) -> int:
    with socket.create_connection(("127.0.0.1", int(os.environ["PORT"]))) as server:
        server.sendall(f"{queue} {key} {os.getpid()} {n}\\n".encode())
        server.recv(1)
        time.sleep(0.15)
        server.sendall(b"out")
        server.recv(1)
    return n
@workflow(queue=wide)
def keyed(n: int, key: str) -> None:
    work(n, key, "wide")
@workflow(queue=narrow)
def single(n: int) -> None:
    work(n, "-", "narrow")
"""


class Door(socketserver.ThreadingTCPServer):
    """Counts who is inside. Of a process that is killed, the kernel closes what it has open, its locks among it, in
    some order: it is outside as soon as it has nothing open."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.lock = threading.Lock()
        self.inside: list[tuple[str, str, int]] = []
        self.entered: Counter[str] = Counter()
        self.over: list[str] = []
        self.full_at: list[float] = []
        self.visitors: set[int] = set()
        self.changed = threading.Condition(self.lock)
        self.opened = False  # nobody is kept until the wide queue is full

    def enter(self, visit: tuple[str, str, int], number: str) -> None:
        """Somebody comes in: is that one too many?"""
        with self.lock:
            self.inside.append(visit)
            self.visitors.add(visit[2])
            self.entered[f"{visit[0]} {number}"] += 1
            living = [each for each in self.inside if _living(each[2])]
            queues = Counter(queue for queue, _, _ in living)
            keys = Counter(key for queue, key, _ in living if queue == "wide")
            if queues["wide"] > WIDE or queues["narrow"] > NARROW or max(keys.values(), default=0) > 1:
                self.over.append(f"{dict(queues)}, {max(keys.values(), default=0)} of one key")
            if queues["wide"] >= WIDE:
                self.full_at.append(time.monotonic())
                self.changed.notify_all()

    def stay(self, queue: str) -> None:
        """Who is in the wide queue leaves when it has been full: else a busy machine has seldom five inside at once."""
        with self.changed:
            before = len(self.full_at)
            self.changed.wait_for(lambda: queue != "wide" or self.opened or len(self.full_at) > before, LONGEST)

    def open(self) -> None:
        """From now on everybody leaves at once."""
        with self.changed:
            self.opened = True
            self.changed.notify_all()

    def leave(self, visit: tuple[str, str, int]) -> None:
        """The same one is out again."""
        with self.lock:
            self.inside.remove(visit)


class Visit(socketserver.StreamRequestHandler):
    """One execution of the step."""

    server: Door

    def handle(self) -> None:
        """It comes in, works, and leaves, or is killed."""
        queue, key, pid, number = self.rfile.readline().decode().split()
        visit = queue, key, int(pid)
        self.server.enter(visit, number)
        self.server.stay(queue)
        left = b""
        with contextlib.suppress(OSError):
            self.wfile.write(b"x")
            left = self.rfile.read(3)
        self.server.leave(visit)
        if left:
            with contextlib.suppress(OSError):
                self.wfile.write(b"x")


def _living(pid: int) -> bool:
    try:
        return bool(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def run(part: int, seed: int, cases: int, *, more: int = 0) -> Figures:
    """So many kills, and the queues to their end; `more`: so many more runs than counted may be inside."""
    found = Figures(cases, measured={"full again": [], "beside waits": [], "after a start": []})
    rng = random.Random(f"{seed}/{part}")
    with Door() as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        each = PER_KILL * cases // KEYS
        with Place(SCRIPT, PORT=str(door.server_address[1]), WIDE=str(WIDE + more), NARROW=str(NARROW)) as place:
            place.python(
                f"for k in range({KEYS}):\n"
                "    many = app.keyed.with_options(key=f'k{k}', priority=k % 3)\n"
                f"    many.enqueue_many([(k * 100_000 + n, f'k{{k}}') for n in range({each})])\n"
                f"app.single.enqueue_many([(n,) for n in range({3 * cases})])"
            )
            workers = [place.worker("--slots", str(SLOTS)) for _ in range(WORKERS)]
            for _ in range(cases):
                until(lambda: door.full_at, PATIENCE)
                time.sleep(rng.uniform(0.0, 0.5))
                which = rng.randrange(WORKERS)
                others = [[each.pid, *children(each.pid)] for each in workers if each is not workers[which]]
                # Of executors that have executed something.
                slots = SLOTS * len(door.visitors & {pid for each in others for pid in each})
                unserved, killed = Unserved(others), time.monotonic()
                if rng.random() < 0.5:
                    place.kill(workers[which])
                    workers[which] = place.worker("--slots", str(SLOTS))
                    found.counts["workers"] += 1
                else:
                    for pid in children(workers[which].pid)[:1]:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    found.counts["executors"] += 1
                with door.lock:
                    since = len(door.full_at)
                if len(door.entered) >= KEYS * each - 5 * KEYS:  # nobody is left to fill it
                    continue
                until(lambda since=since: len(door.full_at) > since, PATIENCE)  # type: ignore[misc]
                ready = unserved.seconds()
                after = [at - killed for at in door.full_at[since : since + 1]]
                found.measured["full again" if slots >= WIDE + NARROW else "after a start"] += after
                if slots >= WIDE + NARROW:
                    found.measured["beside waits"] += [max(seconds - ready, 0.0) for seconds in after]
            door.open()
            total = KEYS * each + 3 * cases
            label = f"part {part}, seed {seed}"
            if not more and not while_moving(lambda: len(door.entered) >= total, door.entered.total):
                found.failures.append(f"{total - len(door.entered)} runs are never executed: {label}")
        door.shutdown()
    found.failures += [f"inside: {over}: {label}" for over in door.over]
    found.counts["runs"] = len(door.entered)
    found.counts["executed again after a kill"] = door.entered.total() - len(door.entered)
    return found


def control(seed: int) -> Figures:
    """The queue lets one more in than is counted."""
    return run(0, seed, 1, more=1)


def says(found: Figures) -> str:
    again = found.counts["executed again after a kill"]
    text = f"{found.counts['runs']:,} runs, {again:,} executed again after a kill; the queue full again after"
    kinds = {
        "full again": "where slots enough were left",
        "beside waits": "of it beside waits for a processor",
        "after a start": "where a worker had to start first",
    }
    for name, when in kinds.items():
        if numbers := found.measured[name]:
            p50, p99, most = (found.percentile(name, share) for share in (0.5, 0.99, 1.0))
            text += f" p50 {p50:.2f} s, p99 {p99:.2f} s, p100 {most:.2f} s {when} ({len(numbers):,} times);"
    return text.rstrip(";")


def judge(found: Figures) -> list[str]:
    """Within two seconds, where slots enough are left and a processor is free."""
    late = [seconds for seconds in found.measured["beside waits"] if seconds > LATEST]
    return [f"full again after {seconds:.2f} s beside waits for a processor" for seconds in late]


PROOF = Proof(
    name="W1",
    claim="workers and executors killed while they serve queues: never more runs inside than the queue and its keys"
    " allow, every run executed, and the queue filled again",
    unit="kills",
    size=500,
    part=8,
    run=run,
    control=control,
    controlled="the queue lets in one more than is counted",
    short="tests/integration/test_queue_limits.py",
    says=says,
    judge=judge,
    alone=True,
)
