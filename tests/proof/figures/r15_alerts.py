"""R15: a process that ends abnormally, and its alert at an HTTP server: how long it takes, and how often it comes.

Two kinds of cases in turn. In one, the process of a run is killed at a random moment, and the time from its death to
the request is taken. In the other, the process that delivers is killed at the moment at which the server has answered,
and the next process delivers what still waits. There an alert may come twice, as in every protocol between two
machines; both times with the same id.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.proof.form import Figures, Proof, each_of

BOUND = 2.0
"""Seconds, at the 99th percentile."""
PATIENCE = 60.0
SOURCE = Path(__file__).parents[3] / "src"

VICTIM = """
import os, time
from perdure import step, workflow

@step
def work(n: int) -> int:
    os.write(1, b".")
    time.sleep(0.002)
    return n

@workflow(name="proof.victim")
def victim() -> int:
    return sum(work(n) for n in range(100_000))

if os.environ["TIMES"] == "2":
    import perdure
    perdure.alert("it begins")
victim()
"""

SENDER = """
import os, sys
from pathlib import Path
from perdure.alerts import sender
from perdure.alerts.alert import Alert
from perdure.alerts.channels.target_address import parse
from perdure.alerts.spool import Spool

targets, spool = parse(os.environ["PERDURE_ALERTS"]), Spool(Path("alerts"))
if sys.argv[1:]:
    for time in range(int(os.environ["TIMES"])):
        spool.put(Alert(what="message", error="an invoice has no address" + "!" * time), targets)
sender.deliver(targets, Path("alerts"), all=True)
"""


class Server:
    """Takes alerts, and remembers when each came; `answered` is called once an answer is on its way."""

    def __init__(self) -> None:
        self.came: list[tuple[float, str]] = []
        self.answered: Callable[[], None] = lambda: None
        self.changed = threading.Condition()
        self.port = 0

    def wait(self, count: int) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: len(self.came) >= count, PATIENCE)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came = time.monotonic()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Idempotency-Key"] != body["id"]:
                body["id"] = ""
            with server.changed:
                server.came.append((came, body["id"]))
                server.changed.notify_all()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.wfile.flush()
            server.answered()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def run(part: int, seed: int, cases: int, *, dog: bool = True, times: int = 1) -> Figures:
    """Half of the cases of each kind; every alert is made so many times, each with an id of its own."""
    found = Figures()
    rng = random.Random(f"{seed}/{part}")
    for number in range(cases):
        label = f"case {number} of part {part}, seed {seed}"
        with serving() as server, tempfile.TemporaryDirectory(prefix="perdure-proof-") as name:
            env = {key: value for key, value in os.environ.items() if not key.startswith(("PERDURE_", "ALERT_"))}
            env |= {"PYTHONPATH": str(SOURCE), "PERDURE_ALERTS": f"webhook+http://127.0.0.1:{server.port}/alert"}
            env["TIMES"] = str(times)
            case = killed_run if number % 2 == 0 else killed_sender
            found.add(case(server, Path(name), env | ({} if dog else {"PERDURE_ALERTS": ""}), rng, label))
    return found


def killed_run(server: Server, folder: Path, env: dict[str, str], rng: random.Random, label: str) -> Figures:
    """Kill a run; its alert comes within seconds, and no second one, not even when the run goes on."""
    script = folder / "victim.py"
    script.write_text(VICTIM, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.read(rng.randint(1, 20))
        time.sleep(rng.uniform(0, 0.005))
        process.kill()
        process.wait()
        died = time.monotonic()
    found = Figures(1, Counter({"runs killed": 1}))
    times = int(env["TIMES"])
    if len(server.came) < times and (not env["PERDURE_ALERTS"] or not server.wait(times)):
        found.failures.append(f"lost: {label}: no alert")
        return found
    found.measured["seconds"] = [server.came[0][0] - died]
    # The next process on the state file would send what it takes for unsent.
    argv = [sys.executable, "-m", "perdure", "ps"]
    subprocess.run(argv, cwd=folder, env=env, capture_output=True, check=False)
    if len(server.came) != 1:
        found.failures.append(f"again: {label}: {len(server.came)} alerts of one death")
    return found


def killed_sender(server: Server, folder: Path, env: dict[str, str], rng: random.Random, label: str) -> Figures:
    """Kill who delivers when the server has answered, a moment later or not; let another deliver what waits."""
    script = folder / "sender.py"
    script.write_text(SENDER, encoding="utf-8")
    process = subprocess.Popen([sys.executable, str(script), "put"], cwd=folder, env=env, stderr=subprocess.DEVNULL)
    later = rng.choice((0.0, rng.uniform(0, 0.003)))

    def kill() -> None:
        until = time.perf_counter() + later
        while time.perf_counter() < until:
            pass
        process.kill()

    server.answered = kill
    process.wait()
    server.answered = lambda: None
    subprocess.run([sys.executable, str(script)], cwd=folder, env=env, capture_output=True, check=False)
    found = Figures(1, Counter({"senders killed": 1}))
    ids = {id for _, id in server.came}
    if not server.came:
        found.failures.append(f"lost: {label}: no alert")
    elif len(ids) != 1 or "" in ids:
        found.failures.append(f"id: {label}: {len(server.came)} deliveries under {len(ids)} ids")
    elif len(server.came) > 2:
        found.failures.append(f"again: {label}: {len(server.came)} deliveries, of which one sender was killed")
    elif len(server.came) == 2:
        found.counts["came twice, with one id"] = 1
    return found


def judge(found: Figures) -> list[str]:
    if "seconds" not in found.measured or found.percentile("seconds", 0.99) <= BOUND:
        return []
    return [f"slow: p99 is {found.percentile('seconds', 0.99):.2f} s"]


def control(seed: int) -> Figures:
    """The same without a target; and with each alert made twice, under two ids."""
    found = run(0, seed, 4, dog=False)
    found.add(run(0, seed, 4, times=2))
    return each_of(found, "lost: ", "again: ", "id: ")


def says(found: Figures) -> str:
    times = ", ".join(f"p{share:g} {found.percentile('seconds', share / 100):.2f} s" for share in (50, 99, 100))
    twice, senders = found.counts["came twice, with one id"], found.counts["senders killed"]
    return (
        f"from death to alert {times}; of {senders:,} deliveries whose sender was killed between the answer and the"
        f" mark {twice:,} came twice, each with the id of the first"
    )


PROOF = Proof(
    name="R15",
    claim="abnormal end to alert: 2 s at the 99th percentile, none lost, once; with a kill between the channel's answer"
    " and the mark at most once more, with the same id",
    unit="deaths",
    size=1_000,
    part=20,
    run=run,
    control=control,
    controlled="no target; alerts made twice",
    short="tests/integration/test_alert_delivered_once.py",
    says=says,
    judge=judge,
    alone=True,
)
