"""Scripts with a planted fault each, for the tests of `perdure crashtest`."""

from __future__ import annotations

from pathlib import Path

from perdure.crashtest.lives import Target


def target(folder: Path, text: str, **more: object) -> Target:
    """That text as a script in a folder of its own."""
    script = folder / "job.py"
    script.write_text(text, encoding="utf-8")
    given = {"workflow": None, "arguments": [], "folder": folder, "cwd": folder, **more}
    return Target(script, **given)  # type: ignore[arg-type]


HEAD = """
import asyncio, json, os, random, sqlite3, time, urllib.request, uuid
from datetime import datetime
import perdure
from perdure import step, workflow

URL = "http://127.0.0.1:{port}"

def post(path, body, key=None, method="POST"):
    headers = {{"Content-Type": "application/json"}}
    if key:
        headers["Idempotency-Key"] = key
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status

@step
def load() -> list[int]:
    return [1, 2, 3]
"""

FAULTS: dict[str, tuple[str, str, str]] = {
    "a request without a key": (
        "unsafe",
        "notify",
        """
@step
def notify(n: int) -> int:
    return post("/notify", n)
@workflow
def main() -> int:
    return notify(sum(load()))
""",
    ),
    "a request without a key, by httpx in an async step": (
        "unsafe",
        "notify",
        """
@step
async def notify(n: int) -> int:
    import httpx
    async with httpx.AsyncClient(timeout=30) as client:
        return (await client.post(URL + "/notify", json=n)).status_code
@workflow
async def main() -> list[int]:
    return list(await asyncio.gather(notify(1), notify(2)))
""",
    ),
    "a request without a key, by aiohttp": (
        "unsafe",
        "notify",
        """
@step
async def notify(n: int) -> int:
    import aiohttp
    async with aiohttp.ClientSession() as session, session.post(URL + "/notify", json=n) as answer:
        return answer.status
@workflow
async def main() -> int:
    return await notify(1)
""",
    ),
    "a run enqueued without an id": (
        "unsafe",
        "ask",
        """
@workflow
def send(n: int) -> int:
    return n
@step
def ask(n: int) -> int:
    send.enqueue(n)
    return n
@workflow
def main() -> int:
    return ask(1)
""",
    ),
    "large data made of what is in memory": (
        "other-end",
        "keep",
        """
seen = []
@step
def gather(n: int) -> int:
    seen.append(n)
    return n
@step
def keep(n: int) -> perdure.Artifact:
    return perdure.artifact(json.dumps(seen))
@workflow
def main() -> int:
    return keep(gather(3)).size * 0
""",
    ),
    "an alert with another text": (
        "unsafe",
        "warn",
        """
@step
def warn(n: int) -> int:
    perdure.alert(f"item {n} by {uuid.uuid4()}")
    return n
@workflow
def main() -> int:
    return warn(1)
""",
    ),
    "a line appended to a file": (
        "unsafe",
        "note",
        """
@step
def note(n: int) -> None:
    with open("log.txt", "a") as file:
        file.write(f"{n}\\n")
@workflow
def main() -> None:
    for n in load():
        note(n)
""",
    ),
    "a request outside of steps": (
        "unsafe",
        "",
        """
@workflow
def main() -> int:
    post("/started", 1)
    return len(load())
""",
    ),
    "the clock reaches a step": (
        "non-deterministic",
        "",
        """
@step
def report(day: str) -> int:
    return len(day)
@workflow
def main() -> int:
    return report(datetime.now().strftime("%d. %H h"))
""",
    ),
    "the order of a set reaches a step": (
        "non-deterministic",
        "",
        """
@step
def first(name: str) -> int:
    return len(name)
@workflow
def main() -> int:
    return first(next(iter({"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"})))
""",
    ),
    "the order of a set reaches the result": (
        "non-deterministic",
        "",
        """
@workflow
def main() -> list[str]:
    load()
    return list({"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"})
""",
    ),
    "the time zone reaches the result": (
        "non-deterministic",
        "",
        """
@workflow
def main() -> float:
    return sum(load()) + datetime(2026, 11, 23).timestamp()
""",
    ),
    "the time zone decides which step is called": (
        "non-deterministic",
        "",
        """
@step
def weekly(n: int) -> int:
    return n
@workflow
def main() -> int:
    numbers = load()
    return weekly(1) if datetime(2026, 11, 23).timestamp() % 86_400 == 0 else sum(numbers)
""",
    ),
    "the order of a set reaches a file of the workflow's own": (
        "non-deterministic",
        "",
        """
@workflow
def main() -> int:
    with open("names.txt", "w") as file:
        file.write(" ".join({"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"}))
    return sum(load())
""",
    ),
    "chance reaches a step": (
        "drift",
        "draw",
        """
@step
def draw(ticket: float) -> int:
    return 1
@workflow
def main() -> int:
    return draw(random.random()) + len(load())
""",
    ),
    "a step that leaves its result in memory": (
        "other-end",
        "gather",
        """
found = []
@step
def gather(n: int) -> None:
    found.append(n)
@workflow
def main() -> int:
    for n in load():
        gather(n)
    return len(found)
""",
    ),
    "a row that is inserted again": (
        "other-files",
        "insert",
        """
@step
def insert(n: int) -> None:
    with sqlite3.connect("rows.db") as database:
        database.execute("create table if not exists rows (n)")
        database.execute("insert into rows values (?)", (n,))
@workflow
def main() -> None:
    for n in load():
        insert(n)
""",
    ),
    "a file under a name made of chance": (
        "other-files",
        "export",
        """
@step
def export(n: int) -> None:
    with open(f"export-{uuid.uuid4()}.txt", "w") as file:
        file.write(str(n))
@workflow
def main() -> None:
    export(sum(load()))
""",
    ),
    "an order under a number made of chance": (
        "unsafe",
        "order",
        """
@step
def order(n: int) -> int:
    return post(f"/orders/{uuid.uuid4().hex}", n, method="PUT")
@workflow
def main() -> int:
    return order(sum(load()))
""",
    ),
    "a row that is inserted again, with the time": (
        "other-files",
        "insert",
        """
@step
def insert(n: int) -> None:
    with sqlite3.connect("rows.db") as database:
        database.execute("create table if not exists rows (n, at)")
        database.execute("insert into rows values (?, ?)", (n, time.time_ns()))
@workflow
def main() -> None:
    for n in load():
        insert(n)
""",
    ),
    "a result that cannot be stored": (
        "unstorable",
        "",
        """
@step
def connect():
    return open(__file__)
@workflow
def main() -> None:
    connect()
""",
    ),
    "a lock file that a killed process leaves": (
        "stuck",
        "work",
        """
@step
def work(n: int) -> int:
    while True:
        try:
            os.close(os.open("lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            time.sleep(0.05)
    answer = post("/work", n, perdure.idempotency_key())
    os.unlink("lock")
    return answer
@workflow
def main() -> int:
    return work(1)
""",
    ),
}
"""By what is planted: the kind of the finding, the step that it names, and the script behind HEAD."""
