"""A result that is not what its annotation declares is saved as it is, and is not silent."""

from __future__ import annotations

from conftest import Scripts

SCRIPT = """
import asyncio, sys
from perdure import step, workflow

@step
def amount(order: str) -> int:
    return order  # as a model answers at times

@step
def rows(n: int) -> list[float]:
    return [1, 2.5] if n else ["hunter22secret"]

@step
async def title(order: str) -> str:
    return None

@workflow
async def main() -> str:
    return await title("o-1")

@workflow
def sums() -> int:
    amount("hunter22secret"), amount("o-2")
    rows.map([0, 1]).raise_if_dead()
    return 3

if __name__ == "__main__":
    print(sums() if sys.argv[1] == "sums" else asyncio.run(main()))
"""


def test_what_is_returned_unlike_its_annotation_is_said_once_and_kept(scripts: Scripts) -> None:
    """One line for each step, without the value; `why` and `diagnose` name it. An int may stand for a float."""
    script = scripts.write(SCRIPT, "job.py")
    done = scripts.run(script, "sums")
    assert (done.returncode, done.stdout) == (0, "3\n")
    told = [line for line in done.stderr.splitlines() if "is declared" in line]
    tail = "; it is saved as it is: mend the annotation, or what is returned"
    assert told == [
        f"perdure: step 'amount' is declared -> int, and what it returns is of type str{tail}",
        f"perdure: step 'rows' is declared -> list[float], and what it returns holds something of type str{tail}",
    ]
    assert "hunter22secret" not in done.stderr
    ours = scripts.write("import sys; from perdure.cli import main; sys.exit(main())", "command.py")
    why = scripts.run(ours, "why", "last").stdout
    assert told[0].removeprefix("perdure: ") in why
    assert "this kind of failure: state-drift" in why
    diagnosed = scripts.run(ours, "diagnose", "last").stdout
    assert "state-drift (likely)  step 'amount' is declared -> int" in diagnosed
    assert scripts.run(script, "sums").stdout == "3\n"


def test_it_is_said_of_async_steps_and_of_workflows(scripts: Scripts) -> None:
    """Each by its own name."""
    script = scripts.write(SCRIPT, "job.py")
    done = scripts.run(script, "main")
    assert done.stdout == "None\n"
    for owner in ("step 'title'", "workflow 'main'"):
        assert f"perdure: {owner} is declared -> str, and what it returns is of type NoneType" in done.stderr
