"""Dead letters on a cluster are looked at like those of a state file; what cannot be done there is refused."""

from __future__ import annotations

from tests.conformance.test_commands import Desk, desk

__all__ = ["desk"]


def test_dead_letters_are_shown_and_nothing_else(desk: Desk) -> None:
    """`dlq ls`, `show` and `export` name a letter by its run and record; the rest says that it cannot."""
    desk.write(
        """
        @step(retry=None)
        def picky(n: int) -> int:
            if n == 2:
                raise ValueError("two")
            return n

        @step(retry=None, on_failure="dead_letter")
        def single() -> int:
            raise OSError("one")

        @workflow
        def flow() -> list:
            return [len(picky.map([1, 2, 3]).dead), single()]
        """
    )
    code, out, err = desk.type("run", "--json", str(desk.script))
    assert code == 3, err
    assert '"result":[1,null]' in out
    run = desk.told("ps")["runs"][0]["id"]
    listed = desk.told("dlq", "ls", "--run", run)["letters"]
    assert [(one["step"], one["error"]) for one in listed] == [("single", "OSError: one"), ("picky", "ValueError: two")]
    reference = listed[1]["reference"]
    assert reference.startswith(f"{run}#")
    told = desk.told("dlq", "show", reference)
    assert (told["inputs"], [attempt["message"] for attempt in told["attempts"]]) == ([2], ["two"])
    _, out, _ = desk.type("dlq", "ls")
    assert reference in out
    code, out, _ = desk.type("dlq", "export", "--run", run)
    assert (code, len(out.splitlines())) == (0, 2)
    for command in ("redrive", "drop", "edit"):
        code, _, err = desk.type("dlq", command, reference)
        assert code == 2
        assert "not supported on a cluster" in err
