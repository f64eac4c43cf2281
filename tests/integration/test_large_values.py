"""Large values in runs: stored once, the same on every way to go on, and never pointing at nothing."""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from conftest import Scripts

AGENT = """
    import os, random, sys
    from perdure import step, workflow

    WORDS = [f"w{number}" for number in range(1000)]

    def text(seed: int, words: int) -> str:
        return " ".join(random.Random(seed).choices(WORDS, k=words))

    @step(retry=None)
    def ask(messages: list[dict]) -> dict:
        with open("asked", "a") as file:
            file.write(f"{len(messages)}\\n")
        return {"role": "assistant", "content": text(len(messages), 50)}

    @step(retry=None)
    def tool(turn: int) -> str:
        if turn == int(os.environ.get("DIE", "-1")):
            os._exit(9)
        return text(10_000 + turn, 4_000)

    @workflow
    def agent(turns: int) -> list:
        messages = [{"role": "user", "content": text(0, 4000)}]
        for turn in range(turns):
            messages.append(ask(messages))
            messages.append({"role": "tool", "content": tool(turn)})
        return messages

    if __name__ == "__main__":
        import zlib
        print("GOT", zlib.crc32(repr(agent(40)).encode()))
"""


def test_messages_that_grow_are_stored_once(scripts: Scripts) -> None:
    """40 calls of 20 kB more each would be 17 MB; a run that was killed in the middle comes to the same result."""
    script = scripts.write(AGENT, name="agent.py")
    state = script.parent / ".perdure/state.db"
    died = scripts.run(script, DIE="35")
    assert died.returncode == 9
    resumed = scripts.run(script)
    assert resumed.returncode == 0, resumed.stderr
    assert state.stat().st_size < 3_000_000
    assert (script.parent / "asked").read_text().split() == [str(1 + 2 * turn) for turn in range(40)]
    os.remove(state)
    again = scripts.run(script)
    assert again.stdout == resumed.stdout
    assert scripts.run(Path("-m"), "perdure", "doctor").returncode == 0


LETTERS = """
    import os
    from perdure import step, workflow

    @step(retry=None)
    def load() -> str:
        return "some text, " * 20_000

    @step(retry=None)
    def count(data: dict) -> dict:
        if data["name"] == "bad" and not os.path.exists("flag"):
            raise ValueError("not yet")
        return {"big": data["big"] + "!"}

    @workflow
    def w(given: str) -> str:
        big = load()
        batch = count.map([{"big": big + given, "name": name} for name in ("good", "bad")])
        return given + str(len(batch.dead))

    if __name__ == "__main__":
        print("GOT", len(w("abc, " * 20_000)))
"""


def test_dead_letters_and_forks_have_large_values(scripts: Scripts) -> None:
    """Shown, edited, driven again, exported and taken over by a fork; the file holds each of them once."""
    script = scripts.write(LETTERS, name="letters.py")
    assert scripts.run(script).stdout == "GOT 100001\n"
    shown = scripts.run(Path("-m"), "perdure", "dlq", "show", "1", "--json")
    assert "some text, " * 20_000 + "abc, " * 20_000 in shown.stdout
    edited = scripts.run(Path("-m"), "perdure", "dlq", "edit", "1", "--set", 'data.name="worse"')
    assert edited.returncode == 0, edited.stderr
    driven = scripts.run(Path("-m"), "perdure", "dlq", "redrive", "1")
    assert driven.returncode == 0, driven.stderr
    forked = scripts.run(Path("-m"), "perdure", "fork", "last", "--from", "count")
    assert forked.returncode == 3  # with a dead letter
    details = scripts.run(Path("-m"), "perdure", "show", "last", "--json")
    assert details.returncode == 0, details.stderr
    assert "some text, " * 20_000 in details.stdout
    assert scripts.run(Path("-m"), "perdure", "doctor").returncode == 0
    state = script.parent / ".perdure/state.db"
    assert state.stat().st_size < 1_000_000


def test_a_damaged_piece_stops_the_run_and_is_named(scripts: Scripts) -> None:
    """The step is not executed again, nothing is made of what is left, and `doctor` finds it."""
    script = scripts.write(AGENT, name="agent.py")
    assert scripts.run(script, DIE="2").returncode == 9
    state = script.parent / ".perdure/state.db"
    connection = apsw.Connection(str(state))
    connection.execute("UPDATE piece SET data = zeroblob(length(data))")
    connection.close()
    asked = (script.parent / "asked").read_text()
    stopped = scripts.run(script)
    assert stopped.returncode != 0
    assert "[state-corrupt]" in stopped.stderr
    assert "output of record #2 tool is damaged" in stopped.stderr
    assert (script.parent / "asked").read_text() == asked
    found = scripts.run(Path("-m"), "perdure", "doctor")
    assert found.returncode == 1
    assert "piece" in found.stdout
