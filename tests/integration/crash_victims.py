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

NOTIFY = """
@step
def notify(n: int) -> int:
    return post("/notify", n)
@workflow
def main() -> int:
    return notify(sum(load()))
"""
"""A request without a key."""

FAULTS: dict[str, tuple[set[tuple[str, str]], int, str]] = {
    "requests, an order, an alert, a line and a run without a key, and a request outside of steps": (
        {
            ("unsafe", ""),
            ("unsafe", "ask"),
            ("unsafe", "note"),
            ("unsafe", "notify"),
            ("unsafe", "order"),
            ("unsafe", "warn"),
        },
        9,
        """
@step
def notify(n: int) -> int:
    return post("/notify", n)
@step
def order(n: int) -> int:
    return post(f"/orders/{uuid.uuid4().hex}", n, method="PUT")
@step
def warn(n: int) -> int:
    perdure.alert(f"item {n} by {uuid.uuid4()}")
    return n
@step
def note(n: int) -> None:
    with open("log.txt", "a") as file:
        file.write(f"{n}\\n")
@workflow
def send(n: int) -> int:
    return n
@step
def ask(n: int) -> int:
    send.enqueue(n)
    return n
@workflow
def main() -> int:
    post("/started", 1)
    for n in load():
        note(n)
    return sum(each(3) for each in (notify, order, warn, ask))
""",
    ),
    "requests without a key, by httpx and aiohttp in async steps": (
        {("unsafe", "notify"), ("unsafe", "tell")},
        4,
        """
@step
async def notify(n: int) -> int:
    import httpx
    async with httpx.AsyncClient(timeout=30) as client:
        return (await client.post(URL + "/notify", json=n)).status_code
@step
async def tell(n: int) -> int:
    import aiohttp
    async with aiohttp.ClientSession() as session, session.post(URL + "/tell", json=n) as answer:
        return answer.status
@workflow
async def main() -> list[int]:
    return list(await asyncio.gather(notify(1), notify(2), tell(3)))
""",
    ),
    "rows that are inserted again, one with the time, and a file under a name made of chance": (
        {("other-files", "export"), ("other-files", "insert"), ("other-files", "insert_now")},
        6,
        """
@step
def insert(n: int) -> None:
    with sqlite3.connect("rows.db") as database:
        database.execute("create table if not exists rows (n)")
        database.execute("insert into rows values (?)", (n,))
@step
def insert_now(n: int) -> None:
    with sqlite3.connect("times.db") as database:
        database.execute("create table if not exists rows (n, at)")
        database.execute("insert into rows values (?, ?)", (n, time.time_ns()))
@step
def export(n: int) -> None:
    with open(f"export-{uuid.uuid4()}.txt", "w") as file:
        file.write(str(n))
@workflow
def main() -> None:
    for n in load():
        insert(n)
    insert_now(4)
    export(5)
""",
    ),
    "large data made of what is in memory": (
        {("other-end", "keep")},
        4,
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
    "the clock reaches a step": (
        {("non-deterministic", "")},
        1,
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
        {("non-deterministic", "")},
        1,
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
        {("non-deterministic", "")},
        1,
        """
@workflow
def main() -> list[str]:
    load()
    return list({"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"})
""",
    ),
    "the time zone reaches the result": (
        {("non-deterministic", "")},
        1,
        """
@workflow
def main() -> float:
    return sum(load()) + datetime(2026, 11, 23).timestamp()
""",
    ),
    "the time zone decides which step is called": (
        {("non-deterministic", "")},
        1,
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
        {("non-deterministic", "")},
        1,
        """
@workflow
def main() -> int:
    with open("names.txt", "w") as file:
        file.write(" ".join({"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"}))
    return sum(load())
""",
    ),
    "chance reaches a step": (
        {("drift", "draw")},
        6,
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
        {("other-end", "gather")},
        4,
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
    "a result that cannot be stored": (
        {("unstorable", "")},
        4,
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
        {("stuck", "work")},
        4,
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
"""By what is planted: kind and step of each finding, how many kills find them, and the script behind HEAD."""
