"""Rules of the core that fit on a line: crash loops, checks of results, branches and their places."""

from __future__ import annotations

from typing import Any

import pytest
from ruled import a_spec

import perdure
from conftest import Died, Machine, Trouble
from perdure import Retry, workflow
from perdure.api.step import step
from perdure.core.exceptions.attempt_notes import AttemptNote, cut, note
from perdure.core.execution import crash_loop
from perdure.core.execution.branch import NO_INPUTS, Branch, busy
from perdure.core.execution.call_extras import Extras, label_of
from perdure.core.execution.crash_loop import MARGIN, WIDTH, CrashLine, fitted, stuck
from perdure.core.execution.history import History
from perdure.core.execution.inputs import pack
from perdure.core.execution.result_check import ensure
from perdure.core.execution.spec import Call, Spec
from perdure.core.records import CALLED, ENQUEUED, RESERVED, begun_by, is_time
from perdure.core.redaction.text import bounded, redact
from perdure.core.values import codec
from perdure.core.values.describe import describe_inputs_against
from perdure.errors import CrashLoop, EnsureFailed, NotStorable, TooLarge


class Carrier:
    """What carries a branch."""

    def __init__(self) -> None:
        self.over = False

    def done(self) -> bool:
        return self.over


def test_a_run_is_stuck_after_so_many_deaths_that_no_call_explains() -> None:
    """Each death is a note; where one call was in flight at all of them, that one is given up instead."""
    deaths = tuple(CrashLine(f"killed at 10:0{n}", 1.0) for n in range(3))
    assert stuck("r-1", deaths[:2], {}, 3) is None
    assert stuck("r-1", deaths, {("one", b"", 0): deaths}, 3) is None
    found = stuck("r-1", deaths, {("one", b"", 0): deaths[:2]}, 3)
    assert isinstance(found, CrashLoop)
    assert "run r-1 died 3 times" in found.what
    assert found.__notes__ == [f"perdure: killed at 10:0{n}" for n in range(3)]


def test_a_death_counts_as_its_share_among_the_runs_that_the_process_executed() -> None:
    """Three deaths beside three others make no loop, twelve do; one that was executed alone is blamed at once."""
    beside, alone = CrashLine("beside three", 1.0, 3), CrashLine("alone", 1.0)
    assert not crash_loop.blames([beside] * 11, 3)
    assert crash_loop.blames([beside] * 12, 3)
    assert not crash_loop.blames([beside, alone], 3), "not before the limit"
    assert crash_loop.blames([beside, beside, alone], 3)
    assert not crash_loop.blames([alone, alone, beside], 3)
    assert stuck("r-1", [beside] * 3, {}, 3) is None
    assert stuck("r-1", [alone] * 3, {("one", b"", 0): (beside,) * 3}, 3) is not None


def test_crashes_are_found_by_call() -> None:
    """Name, key and occurrence; how many lives a call has cut short likewise."""
    spec = a_spec()
    call, again = Call(spec, (), {}, b"", b"k"), Call(spec, (), {}, b"", b"k")
    call.n, again.n = 0, 1
    lines = (CrashLine("a", 1.0), CrashLine("b", 9.0))
    assert crash_loop.against({("ruled", b"k", 0): lines}, call) == lines
    assert crash_loop.against({("ruled", b"k", 0): lines}, again) == ()
    assert crash_loop.alone_for(lines) == 9.0 + MARGIN, "longer than at any of its crashes"
    assert crash_loop.alone_for(()) == 0
    assert crash_loop.against({}, call) == ()
    assert crash_loop.lives_cut({("ruled", b"k", 0): 4}, call) == 4
    assert crash_loop.lives_cut({("ruled", b"k", 0): 4}, again) == 0


def test_long_names_that_begin_alike_stay_two() -> None:
    """What is too long for a flight record is cut and digested, within its bytes; what fits is kept."""
    assert fitted("x" * WIDTH) == "x" * WIDTH
    one, two = fitted("ä" * WIDTH + "1"), fitted("ä" * WIDTH + "2")
    assert one != two
    assert one.startswith("ä" * 70)
    assert max(len(text.encode()) for text in (one, two, fitted("x" * (WIDTH + 1)))) <= WIDTH


@pytest.mark.parametrize(
    ("says", "refused"),
    [(None, None), (True, None), (1, None), ("", None), (False, ""), (0, ""), ([], ""), ("too small", ": too small")],
    ids=repr,
)
def test_what_a_check_of_a_result_says(says: Any, refused: str | None) -> None:
    """A text says what is wrong, an empty one that nothing is; anything else is true or not; None says nothing."""
    spec = a_spec(lambda value: says)
    if refused is None:
        ensure(spec, 3)
        return
    with pytest.raises(EnsureFailed) as caught:
        ensure(spec, 3)
    assert caught.value.what == f"step 'ruled' returned 3, which its ensure= refuses{refused}"


def test_a_refused_result_that_cannot_be_shown_is_named_by_its_type() -> None:
    """The check comes first; that it could not have been stored is not what is wrong."""
    with pytest.raises(EnsureFailed, match="returned a value of type Carrier, which"):
        ensure(a_spec(lambda value: False), Carrier())
    ensure(a_spec(), Carrier())


def test_calls_without_inputs_are_told_apart_by_their_branch() -> None:
    """Their order between branches is not fixed; calls with inputs or a name are the same in any branch."""
    root = Branch(Carrier())
    first, second = Branch(Carrier(), root), Branch(Carrier(), root)
    inner = Branch(Carrier(), first)
    assert [branch.path for branch in (root, first, second, inner)] == [b"", b".0", b".1", b".0.0"]
    spec = a_spec()

    def key(branch: Branch, data: bytes = NO_INPUTS, named: bool = False) -> bytes:
        call = Call(spec, (), {}, data, b"key")
        call.named = named
        return branch.place(call).key

    assert key(root) == b"key"
    assert len({key(branch) for branch in (root, first, second, inner)}) == 4
    assert key(first) == key(first)
    assert key(first, b"inputs") == key(first, named=True) == b"key"


def test_a_branch_that_waits_for_another_is_not_busy() -> None:
    """Those that rest, and all that they are below of; one that has ended is not, either."""
    root = Branch(Carrier())
    first, second = Branch(Carrier(), root), Branch(Carrier(), root)
    inner = Branch(Carrier(), first)
    assert root.living == [root, first, second, inner]
    assert busy(root.living, [inner])
    second.task.over = True  # type: ignore[attr-defined]
    assert not busy(root.living, [inner])
    assert busy(root.living, [])


def test_branches_that_have_ended_are_not_kept() -> None:
    """A loop of a million short branches holds a few of them, with what their tasks have returned."""
    root = Branch(Carrier())
    for _ in range(1000):
        Branch(Carrier(), root).task.over = True  # type: ignore[attr-defined]
    assert len(root.living) <= 8
    assert root in root.living


def test_a_call_that_goes_by_another_key_now_has_the_record_of_its_inputs(machine: Machine) -> None:
    """The key of a step was edited: what was completed is not executed again, and nothing is left over."""
    done: list[str] = []
    place = ["first"]

    @step(name="keyed anew", key=lambda n: (n, place[0]), retry=None)
    def keyed(n: int) -> int:
        done.append(f"keyed {n}")
        return n

    @step(name="after it", retry=None)
    def after(n: int) -> int:
        done.append(f"after {n}")
        if place == ["first"]:
            raise Died
        return n

    @workflow(name="keyed_anew")
    def job() -> int:
        return after(keyed(1) + keyed(2)) + keyed(3)

    with pytest.raises(Died):
        job()
    machine.boot()
    place[0] = "second"
    assert job() == 6
    assert done == ["keyed 1", "keyed 2", "after 3", "after 3", "keyed 3"]


def test_a_record_may_be_as_large_as_is_said() -> None:
    """Inputs and result together; what is too much of the two is named."""
    history = History(1, "run")
    history.largest = 10
    history.refuse_oversized("step 'x'", b"12345", b"12345")
    with pytest.raises(TooLarge, match="step 'x' returned 6 bytes; a record holds at most 10 bytes"):
        history.refuse_oversized("step 'x'", b"12345", b"123456")
    for output in (None, b"12345"):
        with pytest.raises(TooLarge, match="step 'x' is called with 11 bytes of arguments"):
            history.refuse_oversized("step 'x'", b"12345678901", output)


def test_a_time_is_one_that_a_date_can_show() -> None:
    """Before the year 10000; none is fine, and what is no number at all is not."""
    assert all(map(is_time, (None, 0.0, -1.0, 253_402_300_799.0)))
    assert not any(map(is_time, (253_402_300_800.0, -253_402_300_800.0, float("nan"), float("inf"))))


def test_the_name_of_a_login_is_hidden_if_it_is_as_long_as_a_key() -> None:
    """Or if it stands alone before its colon."""
    assert redact("https://" + "n" * 19 + ":secret@host/") == "https://" + "n" * 19 + ":***@host/"
    assert redact("https://" + "n" * 20 + ":secret@host/") == "https://***:***@host/"
    assert redact("https://short:@host/") == "https://***:***@host/"


def test_long_inputs_are_shown_from_their_first_difference_on() -> None:
    """What fits into 200 characters is shown whole."""

    def inputs(text: str) -> bytes:
        return codec.pack_inputs([text], {}, owner="s")

    fits = "x" * (200 - len("('')") - 1)
    assert describe_inputs_against(inputs(fits), inputs("y")) == f"('{fits}')"
    for more in range(1, 4):
        shown = describe_inputs_against(inputs(fits + "x" * more), inputs("y"))
        assert len(shown) <= 200, "cut in front, since it differs there"
    same = "same " * 100
    shown = describe_inputs_against(inputs(same + "mine" + same), inputs(same + "theirs"))
    assert shown.startswith("(...")
    assert shown.endswith("...")
    assert "same mine" in shown
    assert 190 < len(shown) <= 200


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("order  7\n", "order 7"),
        ("", None),
        (" \n", None),
        (7, "7"),
        (2.5, "2.5"),
        (True, "True"),
        (("a", 7), "a, 7"),
        ([1.5, "b"], "1.5, b"),
        ((), None),
        (("a", None), None),
        (None, None),
        ({"a": 1}, None),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 117 + "..."),
    ],
)
def test_a_key_as_a_label(key: Any, label: str | None) -> None:
    """One line of at most 120 characters; a key that says nothing in a line has none."""
    assert label_of(key) == label


def test_how_long_a_call_has_waited_and_for_what() -> None:
    """From when it would have begun without waiting; less than a millisecond is none."""
    extras = Extras()
    extras.wait("rate", 2.0)
    extras.wait("retry", 0.25)
    extras.wait("rate", 0.5)
    extras.wait("breaker", 0.0005)
    extras.began(100.0)
    extras.began(101.0)
    assert extras.at == 100.0 - 2.7505
    batch, asked, waits, label = extras.columns()
    assert (batch, asked, waits, label) == (None, 3750, '{"rate":2500,"retry":250}', None)
    plain = Extras()
    plain.began(100.0)
    assert plain.columns() == (None,) * 4
    assert plain.asked == 0.0


def test_attempts_that_said_the_same_are_one_line() -> None:
    """Of many different ones the first and the last are shown, and how many lines are left out."""

    def said(*messages: str) -> list[AttemptNote]:
        return [AttemptNote("OSError", message) for message in messages]

    assert note("step 's'", said("no"), 2.0, "why") == ["perdure: step 's' failed at its first attempt, after 2 s; why"]
    assert note("step 's'", said("no", "no", "yes", ""), 2.0)[1:] == [
        "  1-2. OSError: no",
        "  3. OSError: yes",
        "  4. OSError",
    ]
    eight = [f"m{n}" for n in range(1, 9)]
    assert note("s", said(*eight), 2.0)[1:] == [f"  {n}. OSError: m{n}" for n in range(1, 9)]
    many = [line.strip() for line in note("s", said(*(f"m{n}" for n in range(1, 21))), 2.0)[1:]]
    assert many == [
        *(f"{n}. OSError: m{n}" for n in range(1, 5)),
        "... 13 lines left out",
        *(f"{n}. OSError: m{n}" for n in range(18, 21)),
    ]
    (_, line, _) = note("s", said("x" * 500, "y"), 2.0)
    assert line == "  1. OSError: " + "x" * (200 - len("OSError: ") - 3) + "..."
    assert cut("x" * 200, 200) == "x" * 200


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("invalid token: unexpectedly ended", "invalid token: unexpectedly ended"),
        ("token: abcde1", "token: ***"),
        ("token: abcd1", "token: abcd1"),
        ("token: abCdef", "token: ***"),
        ("token: Abcdef", "token: Abcdef"),
        ("token: " + "a" * 20, "token: ***"),
        ("token: " + "a" * 19, "token: " + "a" * 19),
    ],
)
def test_a_word_behind_a_name_of_secrets_is_one_if_it_is_no_prose(text: str, hidden: str) -> None:
    """A digit, a capital inside, or twenty letters; from six characters on."""
    assert redact(text) == hidden


@pytest.mark.parametrize("name", ["read", "write"])
def test_what_can_be_read_or_written_is_named_as_an_open_file(name: str) -> None:
    """One of the two is enough: a pipe has one end."""
    with pytest.raises(NotStorable, match="an open file or connection"):
        codec.pack_value(type("Port", (), {name: None})(), owner="step 's'")


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [(int, 5, None), (int, "5", "what it returns is of type str"), (list[int], ["5"], "holds something of type str")],
)
def test_what_is_returned_unlike_its_annotation_is_said(annotation: Any, value: Any, said: str | None) -> None:
    """With both types, and without the value; it is kept."""
    plan = codec.plan(annotation, owner="step 's'")
    told: list[str] = []
    plan.on_unlike = told.append
    data, back = plan.round_trip(value)
    assert (back, plan.unpack(data)) == (value, value)
    assert len(told) == (said is not None)
    assert said is None or (said in told[0] and told[0].startswith("step 's' is declared -> "))


def test_the_middle_of_a_long_text_is_left_out_between_words() -> None:
    """A quarter of it in front, the rest at the end; where there is no space near, in the middle of a word."""
    words = " ".join(f"{n:05}" for n in range(1000))
    short = bounded(words, 400)
    front, left_out, end = short.split("\n")
    assert words.startswith(front)
    assert words.endswith(end)
    assert words[len(front)] == " "
    assert end.startswith(" ")
    assert 94 <= len(front) <= 100
    assert 294 <= len(end) <= 300
    assert left_out == f"  [... {len(words) - len(front) - len(end)} characters left out ...]"
    assert bounded("x" * 400, 400) == "x" * 400
    assert bounded("x" * 401, 400).split("\n")[::2] == ["x" * 100, "x" * 300]
    assert bounded(" " + "x" * 400, 400) == f"\n  [... 101 characters left out ...]\n{'x' * 300}"


@pytest.mark.parametrize(("number", "said"), [(0, None), (1, "1 deferred call waits"), (2, "2 deferred calls wait")])
def test_a_run_that_failed_says_how_many_deferred_calls_wait(machine: Machine, number: int, said: str | None) -> None:
    """They are made when it is done or cancelled, and not before."""

    @step(name="closes", retry=None)
    def closes(n: int) -> None:
        machine.ran.append(n)

    @workflow(name="defers")
    def defers() -> None:
        for n in range(number):
            perdure.defer(closes, n)
        raise Trouble("no")

    with pytest.raises(Trouble) as caught:
        defers()
    notes = [note for note in getattr(caught.value, "__notes__", ()) if "deferred" in note]
    assert notes == ([] if said is None else [f"perdure: {said} until the run is done or cancelled"])
    assert machine.ran == []


def test_the_end_of_a_run_by_its_id_is_known_with_the_time_that_it_took(machine: Machine) -> None:
    """Whoever calls it later has its result, from when it was executed."""

    @workflow(name="takes_time")
    def takes_time() -> int:
        machine.world.sleep(5)
        return 7

    @workflow(name="asks_by_id")
    def asks_by_id(n: int) -> int:
        return takes_time.with_options(id="once only")()

    began, store = machine.world.time, machine.engine.store
    for n in range(2):
        assert asks_by_id(n) == 7
        *_, record = store.records(store.runs(workflow="asks_by_id")[0].rid)
        assert (record.started, record.ms) == (began, 5000)
        machine.world.sleep(60)


def test_what_a_record_begins_is_in_its_name() -> None:
    """A workflow that was called under an id, or enqueued; a step or a child workflow has its own."""
    assert begun_by("pay") == ("", "pay")
    for way in (CALLED, ENQUEUED):
        assert begun_by(f"{way}pay") == (way, "pay")
    assert begun_by(f"{RESERVED}undo") == (RESERVED, "undo")


def test_an_argument_that_equals_its_default_is_none() -> None:
    """A call that spells a default out is the call that leaves it out."""

    def take(x: int, places: list[int] = [1, 2], rate: float = 1.5) -> None: ...  # noqa: B006

    signature = Spec("step", take, "take").signature
    left_out = pack(signature, (1,), {})
    assert pack(signature, (1, [1, 2]), {}) == pack(signature, (1, [1, 2], float("1.5")), {}) == left_out
    assert pack(signature, (1, [1, 3]), {}) != left_out
    assert pack(signature, (1, [1, 2], 1), {}) != left_out


def test_the_backoff_begins_anew_in_the_next_life(machine: Machine) -> None:
    """What failed before the process died may have healed; how many attempts there are in all stays."""
    tries: list[int] = []

    @step(name="backs off", retry=Retry(attempts=6, delay=1, factor=3, jitter=0, on=Trouble))
    def backs_off() -> int:
        tries.append(len(tries) + 1)
        if tries[-1] == 3:
            raise Died
        if tries[-1] < 6:
            raise Trouble(f"attempt {tries[-1]}")
        return tries[-1]

    @workflow(name="backing_off")
    def backing_off() -> int:
        return backs_off()

    with pytest.raises(Died):
        backing_off()
    machine.boot()
    assert backing_off() == 6
    assert machine.world.slept == [1.0, 3.0, 1.0, 3.0]
