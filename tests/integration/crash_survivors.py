"""Sound scripts, for the tests of `perdure crashtest`."""

from __future__ import annotations

KEYED = "keys, PUT, whole files, rows that replace themselves, recorded names, time and chance"

SOUND: dict[str, str] = {
    KEYED: """
@step
def charge(n: int) -> int:
    return post("/charge", n, perdure.idempotency_key())
@step
def order(n: int) -> int:
    return post("/charge", n, f"order-{n}")
@step
def bill(n: int) -> int:
    return post("/charge", {"n": n, "key": perdure.idempotency_key()})
@step
def put(n: int) -> int:
    return post(f"/items/{n}", n, method="PUT")
@step
def report(numbers: list[int]) -> None:
    with open("report.tmp", "w") as file:
        file.write(str(numbers))
    os.replace("report.tmp", "report.txt")
@step
def upsert(n: int) -> None:
    with sqlite3.connect("rows.db") as database:
        database.execute("create table if not exists rows (n integer primary key)")
        database.execute("insert or replace into rows values (?)", (n,))
@step
def tell(day: str, ticket: float) -> int:
    return len(day)
@step
def export(name: str, day: str) -> str:
    os.makedirs(day, exist_ok=True)
    with open(f"{day}/export-{name}.txt", "w") as file:
        file.write("3 rows")
    post(f"/exports/{name}", 3, method="PUT")
    return name
@workflow
def main() -> str:
    numbers = load()
    report([put(n) for n in numbers])
    upsert.map(numbers, concurrency=3).raise_if_dead()
    tell(perdure.now().isoformat(), perdure.random())
    for charged in (charge, order, bill):
        charged(1)
    return export(str(perdure.uuid()), f"of {perdure.now().timestamp()}") + export("last", "of today")
""",
    "a step that looks at the clock, chance and a set": """
@step
def look() -> dict:
    with open("report.txt", "w") as file:
        file.write(datetime.now().isoformat())
    return {"at": time.time(), "ticket": random.random(), "names": list({"a", "bb", "ccc", "dddd", "eeeee"})}
@step
def keep(seen: dict) -> int:
    return len(seen)
@workflow
def main() -> str:
    seen = look()
    keep(seen)
    return f"{seen} in {os.getcwd()}"
""",
    "runs, signals and values that a step leaves once": """
@workflow
def send(n: int) -> int:
    return n
@workflow(once=True)
def count(n: int) -> int:
    return n
@step
def hand_on(n: int) -> int:
    id = send.with_options(id="one").enqueue(n).id
    count.enqueue(n)
    perdure.signal(id, "go", n, id="first")
    perdure.publish("at", n)
    perdure.schedule(send, "0 3 * * *", name="nightly", args=[n])
    perdure.alert(f"item {n}")
    return len(perdure.artifact(f"data of {n}").path.name)
@step(retry=None)
def check(n: int) -> int:
    if n > 1:
        raise LookupError(f"no item {n}")
    return n
@workflow
def main() -> int:
    send.enqueue(2)
    check.map([1, 2])
    return hand_on(1)
""",
    "async branches, retries and an accepted repetition": """
tried = set()
@step(retry=perdure.Retry(attempts=3, delay="30s"))
async def fetch(n: int) -> int:
    if n not in tried:
        tried.add(n)
        raise ConnectionError("reset")
    return n
@step
def note(n: int) -> None:
    # perdure: repeatable readers of this log tolerate repetitions
    with open("log.txt", "a") as file:
        file.write("done\\n")
@workflow(timeout="1h")
async def main() -> int:
    total = sum(await asyncio.gather(fetch(1), fetch(2), fetch(3)))
    note(total)
    await asyncio.sleep(0.3)  # so that the timeout of the run is looked at
    return total
""",
}
"""Scripts behind HEAD that survive every kill."""
