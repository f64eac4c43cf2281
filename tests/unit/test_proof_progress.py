"""What a proof has done is not done again, and a proof whose control finds nothing does not stand."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest

from proof import progress, table
from proof.form import Figures, Proof, each_of
from proof.progress import Done, Progress
from proof.runner import Runner, verdict
from proof.serving import while_moving

WHERE = {
    "day": "2026-11-27",
    "perdure": "1",
    "source": "abc",
    "python": "3",
    "sqlite": "3",
    "machine": "m",
    "file system": "f",
}


def proof(**fields: object) -> Proof:
    found = Figures(1)
    plain = {"run": lambda *_: found, "control": lambda _: found, "controlled": "nothing", "short": ""}
    named = {"name": "X1", "claim": "it holds", "unit": "tries", "size": 1000, "part": 10}
    return Proof(**{**named, **plain, **fields})  # type: ignore[arg-type]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    monkeypatch.setattr(progress, "surroundings", lambda: WHERE)
    return Progress(tmp_path / "proof", seed=7)


def test_parts_add_up_once_and_by_their_seed(kept: Progress, tmp_path: Path) -> None:
    """A part that two runners did counts once; a line that was torn is no part; another seed is another proof."""
    found = Figures(3, Counter(resumed=2), {"ms": [1.0, 9.0]}, ["lost: a"], {"shapes": {"brief"}})
    for part in (0, 0, 4, None):
        kept.write("X1", part, found, 1.5)
    Progress(tmp_path / "proof", seed=8).write("X1", 5, found, 1.0)
    with (tmp_path / "proof" / "X1.jsonl").open("a") as file:
        file.write('{"part": 6, "se')
    done = kept.of("X1")
    assert done.parts == {0, 4}
    assert (done.figures.cases, done.figures.counts["resumed"], len(done.figures.failures)) == (6, 4, 2)
    assert done.figures.percentile("ms", 0.99) == 9.0
    assert done.figures.seen == {"shapes": {"brief"}}
    assert done.control == found
    assert done.seconds == 3.0
    assert (done.where, done.cases) == ([WHERE], [6])


def test_a_proof_with_an_end_does_no_part_twice(kept: Progress) -> None:
    """With several parts at a time the last ones begin while others are under way, and what is beyond the end is the
    beginning again: cases that were counted twice would read as more than were tried."""
    kept.write("X1", 1, Figures(10), 1.0)
    kept.write("X1", None, Figures(1, failures=["lost"]), 1.0)

    def supplied(each: Proof) -> list[int | None]:
        return list(itertools.islice(Runner(each, kept, 7, 1000, 4, math.inf)._supply(), 5))

    assert supplied(proof(parts=4)) == [0, 2, 3]
    assert supplied(proof()) == [0, 2, 3, 4, 5]


def test_a_control_that_misses_one_thing_has_found_nothing() -> None:
    """It breaks each thing that is claimed; a test that sees but one of them would pass for one that sees all."""
    both = Figures(2, failures=["lost: a", "again: b"])
    assert each_of(both, "lost:", "again:") is both
    assert each_of(both, "lost:", "torn:") == Figures(2, Counter({"not found: torn:": 1}))


def test_a_control_that_finds_nothing_is_what_is_wrong() -> None:
    """So is a broken promise, and a sum that its judge refuses."""
    assert verdict(proof(), Done(figures=Figures(5), control=Figures(5, failures=["lost"]))) == []
    assert "proves nothing" in verdict(proof(), Done(figures=Figures(5), control=Figures(5)))[0]
    refusing = proof(judge=lambda found: ["too slow"] if found.cases > 4 else [])
    assert verdict(refusing, Done(figures=Figures(5), control=Figures(5))) == ["too slow"]


def test_the_tables_are_written_between_their_markers(tmp_path: Path) -> None:
    """What was not reached stands there with what was; rows measured elsewhere stay, and so does the rest."""
    page = tmp_path / "reliability.md"
    page.write_text(f"# Head\n\n{table.BEGIN}\nstale\n{table.END}\n\nfoot\n")
    done = Done({0}, Figures(250, failures=["lost | a"]), Figures(4, failures=["x", "y"]), [WHERE], [250], 200.0)
    table.write(page, [(proof(), done), (proof(name="X2"), Done())], seed=7)
    text = page.read_text()
    assert text.startswith("# Head\n")
    assert text.endswith("\n\nfoot\n")
    assert "stale" not in text
    assert "| X1 | it holds | 250 of 1,000 tries | 1 |" in text
    assert "| X2 | it holds | none of 1,000 tries | - |" in text
    assert "`python3 dev.py proof X1 --seed 7` | nothing | 2 in 4 |" in text
    table.write(page, [(proof(), Done()), (proof(name="X2"), Done({0}, Figures(9), Figures(9), [WHERE], [9]))], seed=8)
    assert "| X1 | it holds | 250 of 1,000 tries | 1 |" in page.read_text()
    assert "proof X1 --seed 7` | nothing | 2 in 4 |" in page.read_text()
    assert "| X2 | it holds | 9 of 1,000 tries | 0 |" in page.read_text()


def test_the_page_says_how_many_cases_were_on_which_sources(kept: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that were added on later sources do not pass for all of them: a thousand of before and ten of today are not
    a thousand and ten of today."""
    for part, source, cases in ((0, "abc", 700), (1, "def", 10), (2, "abc", 300)):
        monkeypatch.setattr(progress, "surroundings", lambda source=source: {**WHERE, "source": source})
        kept.write("X1", part, Figures(cases), 60.0)
    row = table.how_row(proof(), kept.of("X1"), seed=7)
    assert "1,000 on 2026-11-27, perdure 1 (src tree abc)" in row
    assert "10 on 2026-11-27, perdure 1 (src tree def)" in row
    assert row.endswith("; 3 min |  |")


def test_what_is_slow_is_waited_for_and_what_stands_still_is_not() -> None:
    """A figure says how a promise is kept, not how busy the machine was: as long as something moves, it may come."""
    looks = itertools.count()
    assert while_moving(lambda: next(looks) > 200, itertools.count().__next__, seconds=0.0)
    assert not while_moving(lambda: False, lambda: "still", seconds=0.0)
