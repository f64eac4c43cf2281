"""SIGKILL while dead letters are re-driven and appended: nothing lost, nothing resolved that did not succeed.

The witness is a ledger that the steps append to (one `write` a line, so it survives the process). What the victims
print is an acknowledgement: a letter that was told as resolved must never be tried again.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import warm
from conftest import SOURCE, _clean
from perdure.core.values import codec
from perdure.store import dead_letters
from perdure.store.dead_letters import Filter
from perdure.store.runs import Store

SCRIPT = """
import json, os, time
import perdure
from perdure import Retry, step, workflow

LEDGER = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def say(**fields):
    line = json.dumps({"life": int(os.environ["LIFE"]), **fields}).encode() + b"\\n"
    os.write(LEDGER, line)
    if "PIPE" in os.environ:
        os.write(int(os.environ["PIPE"]), b"x")

def take(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass

def wait_for_another(since):
    #Until a second process of those after life `since` has begun as well.
    def lives():
        with open(os.environ["LEDGER"]) as ledger:
            return {life for line in ledger if (life := json.loads(line)["life"]) > since}
    while len(lives()) < 2:
        time.sleep(0.01)

@step(retry=Retry(attempts=2, delay="1ms", jitter=0))
def charge(n: int) -> str:
    token = os.urandom(6).hex()
    ok = os.path.exists("mended") and n % 5 != 3
    say(item=n, key=perdure.idempotency_key(), token=token, ok=ok)
    if "SINCE" in os.environ:
        wait_for_another(int(os.environ["SINCE"]))
    take(0.002)
    if not ok:
        raise ConnectionError(f"{n} is broken")
    return token

@workflow
def charges(first: int, count: int) -> int:
    return len(charge.map(range(first, first + count)).dead)

if __name__ == "__main__":
    import sys
    print(charges(int(sys.argv[1]), int(sys.argv[2])))
"""

LETTERS = 12
PERDURE = [sys.executable, "-m", "perdure"]
REDRIVE = [*PERDURE, "dlq", "redrive", "--all", "--concurrency"]
RESOLVED = re.compile(r"^letter (\d+) resolved", re.MULTILINE)


@dataclass
class Ground:
    """A folder with the script, its state and its ledger."""

    folder: Path
    life: int = 0
    acknowledged: dict[int, int] = field(default_factory=dict)

    @classmethod
    def made(cls, folder: Path) -> Ground:
        folder.mkdir(exist_ok=True)
        (folder / "script.py").write_text(SCRIPT)
        return cls(folder)

    def start(self, command: list[str], *, pipe: int | None = None, **env: str) -> subprocess.Popen[str]:
        self.life += 1
        env |= {"LEDGER": str(self.folder / "ledger"), "LIFE": str(self.life), "PYTHONPATH": str(SOURCE)}
        if pipe is not None:
            env["PIPE"] = str(pipe)
        return warm.Popen(
            command,
            cwd=self.folder,
            env=_clean() | env,
            pass_fds=() if pipe is None else (pipe,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: list[str], **env: str) -> tuple[int, str]:
        process = self.start(command, **env)
        out, _ = process.communicate(timeout=60)
        self.hear(out)
        return process.returncode, out

    def killed(self, command: list[str], at: int, spin: float, **env: str) -> bool:
        """Start it, and kill it `spin` seconds after line `at` of its ledger; False if it was through before."""
        reading, writing = os.pipe()
        process = self.start(command, pipe=writing, **env)
        os.close(writing)
        heard = 0
        while heard < at and (content := os.read(reading, 4096)):
            heard += len(content)
        until = time.perf_counter() + spin
        while time.perf_counter() < until:
            pass
        process.send_signal(signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
        os.close(reading)
        self.hear(out)
        return process.returncode == -signal.SIGKILL

    def hear(self, out: str) -> None:
        for lid in RESOLVED.findall(out):
            self.acknowledged.setdefault(int(lid), self.life)

    def ledger(self) -> list[dict[str, Any]]:
        path = self.folder / "ledger"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def outcome(self) -> dict[int, tuple[int, str, str | None]]:
        """Item, status and result of every letter, by number."""
        store = Store(self.folder / ".perdure" / "state.db", read_only=True)
        try:
            assert store.check() == []
            found = {}
            for letter in dead_letters.find(store, Filter()):
                ((item,), _) = codec.unpack_inputs(store.record(letter.run, letter.seq).input, (), owner="")
                result = None if letter.result is None else codec.to_builtins(letter.result)
                found[letter.lid] = (item, letter.status, result)
            return found
        finally:
            store.close()


def judge(
    lines: list[dict[str, Any]], found: dict[int, tuple[int, str, str | None]], acknowledged: dict[int, int]
) -> list[str]:
    """Every promise that was broken."""
    wrong = []
    of: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        of[line["item"]].append(line)
    for lid, (item, status, result) in found.items():
        ran = of[item]
        if len({line["key"] for line in ran}) != 1:
            wrong.append(f"item {item} ran under several keys")
        if status == "resolved" and not any(line["ok"] and line["token"] == result for line in ran):
            wrong.append(f"letter {lid} was resolved with a result that no execution returned")
        if lid in acknowledged:
            if status != "resolved":
                wrong.append(f"letter {lid} was told as resolved, and is {status}")
            if any(line["life"] > acknowledged[lid] for line in ran):
                wrong.append(f"letter {lid} was tried again after it was told as resolved")
    return wrong


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground.made(tmp_path)


def parked(ground: Ground, count: int = LETTERS) -> Ground:
    status, out = ground.run([sys.executable, "script.py", "0", str(count)])
    assert (status, out.strip().splitlines()[-1]) == (0, str(count))
    (ground.folder / "mended").touch()
    return ground


def redriven_under_kills(ground: Ground, rng: random.Random) -> int:
    """Twice killed in the middle, then left to end; returns how many kills hit."""
    kills = 0
    for _ in range(2):
        command = [*REDRIVE, str(rng.choice((1, 1, 3)))]
        # An item that works is one line, so the second life has less to do than the first.
        kills += ground.killed(command, rng.randint(1, 6), rng.choice((0.0, rng.expovariate(1 / 0.003))))
    status, out = ground.run([*REDRIVE, "1"])
    assert status == 3, out
    return kills


def check(ground: Ground, count: int = LETTERS) -> None:
    found = ground.outcome()
    assert judge(ground.ledger(), found, ground.acknowledged) == []
    assert sorted(item for item, _, _ in found.values()) == list(range(count))
    for item, status, _ in found.values():
        assert status == ("parked" if item % 5 == 3 else "resolved")


def test_killed_twice_while_redriving(tmp_path: Path) -> None:
    """The next redrive goes on, under the same keys; what cannot succeed is parked still."""
    kills = 0
    for seed in range(3):
        ground = Ground.made(tmp_path / str(seed))
        kills += redriven_under_kills(parked(ground), random.Random(seed))
        check(ground)
    assert kills > 0  # a process that is through before its kill is not hit by it


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 600))
def test_killed_a_thousand_times_while_redriving(ground: Ground, seed: int) -> None:
    """The same, often."""
    redriven_under_kills(parked(ground), random.Random(seed))
    check(ground)


def test_several_processes_at_once(ground: Ground) -> None:
    """Four processes re-drive the same letters: no letter is carried by two, so each succeeds exactly once."""
    parked(ground, 40)
    since = str(ground.life)
    processes = [ground.start([*REDRIVE, "2"], SINCE=since) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
    ground.run([*REDRIVE, "1"])
    check(ground, 40)
    good = [line["item"] for line in ground.ledger() if line["ok"]]
    assert sorted(good) == [n for n in range(40) if n % 5 != 3]
    lives = {line["life"] for line in ground.ledger() if line["life"] > int(since)}
    assert len(lives) > 1, "one process did it all: nothing was contended"


def test_the_judge_can_tell() -> None:
    """The controls: a random key, a result from nowhere, and work after the acknowledgement are found."""
    ran = {"life": 2, "item": 1, "key": "k", "token": "t", "ok": True}
    assert judge([ran], {1: (1, "resolved", "t")}, {1: 2}) == []
    for lines, found, acknowledged, says in [
        ([ran, ran | {"key": "other"}], {1: (1, "resolved", "t")}, {}, "several keys"),
        ([ran | {"ok": False}], {1: (1, "resolved", "t")}, {}, "no execution returned"),
        ([ran], {1: (1, "resolved", "x")}, {}, "no execution returned"),
        ([ran, ran | {"life": 3}], {1: (1, "resolved", "t")}, {1: 2}, "tried again"),
        ([ran], {1: (1, "parked", None)}, {1: 2}, "is parked"),
    ]:
        assert says in "; ".join(judge(lines, found, acknowledged))


def appended_under_kills(ground: Ground, rng: random.Random, writers: int, kills: int) -> None:
    """Several writers on one state file and one JSON Lines file, some of them killed; then each is run to its end."""
    env = {"WORKFLOW_DLQ_PATH": str(ground.folder / "dead.jsonl")}
    commands = [[sys.executable, "script.py", str(100 * number), "8"] for number in range(writers)]
    for _ in range(kills):
        others = [ground.start(command, **env) for command in rng.sample(commands, writers - 1)]
        ground.killed(rng.choice(commands), rng.randint(1, 16), rng.expovariate(1 / 0.003), **env)
        for other in others:
            other.send_signal(signal.SIGKILL) if rng.random() < 0.5 else None
            other.communicate(timeout=60)
    for command in commands:
        ground.run(command, **env)


def check_file(ground: Ground) -> None:
    store = Store(ground.folder / ".perdure" / "state.db", read_only=True)
    try:
        wanted = sorted(letter.lid for letter in dead_letters.find(store, Filter()))
    finally:
        store.close()
    lines = [json.loads(line) for line in (ground.folder / "dead.jsonl").read_text().splitlines()]
    assert sorted(line["letter"] for line in lines) == wanted
    assert len({line["id"] for line in lines}) == len(lines)


def test_writers_of_one_file_killed(ground: Ground) -> None:
    """Every letter is in the file, whole and once, whoever was killed when."""
    appended_under_kills(ground, random.Random(1), writers=3, kills=3)
    check_file(ground)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100))
def test_writers_of_one_file_killed_often(ground: Ground, seed: int) -> None:
    """The same, often."""
    appended_under_kills(ground, random.Random(seed), writers=3, kills=4)
    check_file(ground)
