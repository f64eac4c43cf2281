"""What functions of a few lines answer in each of their cases: causes, statements, sizes, stand-ins, annotations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest
from classified import assess
from test_claims import RUN
from typing_extensions import TypeAliasType

from perdure import Retry, Secret
from perdure.api.handle import Handle
from perdure.core import exit_causes
from perdure.core.callables import parameters_of
from perdure.core.exceptions.recorded_objects import RecordedObject
from perdure.core.execution import run_refusals
from perdure.core.execution.argument_paths import _no_place
from perdure.core.execution.own_errors import MOST, OwnErrors, chain
from perdure.core.execution.seen_keys import ManyKeys
from perdure.core.execution.wait_any_record import WAIT_ANY, returned
from perdure.core.policies.retry import reassess
from perdure.core.records import CALLED, ENQUEUED, RESERVED, are_times, begun_by, is_time
from perdure.core.redaction.names import is_secret
from perdure.core.redaction.text import redact
from perdure.core.repeatable_comments import accepts_repetition
from perdure.core.signal_size import LARGEST_SENT, refuse_large
from perdure.core.sizes import show_size
from perdure.core.values import codec
from perdure.core.values.annotations import Closed
from perdure.core.values.arguments import with_keyword
from perdure.core.values.drawn import drawn_anew
from perdure.errors import NotStorable, TooLarge
from perdure.store.statements import Statements

YEAR_10000 = 253_402_300_800.0


@dataclass(frozen=True)
class Info:
    code: int


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("exit 3", "the process ended with exit code 3 in the middle of the run, without an exception (os._exit?)"),
        ("stopped MemoryError", "it ended with MemoryError, and could not write that into the state file"),
        ("SIGSEGV", "segmentation fault (SIGSEGV)"),
        ("SIGINT", "interrupted (SIGINT)"),
        ("oom", "the system ran out of memory and killed it"),
        ("SIGUSR1", "ended by SIGUSR1"),
    ],
)
def test_the_cause_of_an_end_in_words(cause: str, said: str) -> None:
    """A signal that is not in the list is named as it is."""
    assert exit_causes.describe(cause) == said


def test_an_end_that_nobody_saw() -> None:
    """A kill for want of memory that is concluded from a counter is said to be probable."""
    assert "(probably: " in exit_causes.describe("oom", sure=False)
    assert [exit_causes.is_unseen(cause) for cause in ("unseen", "stopped KeyError", "oom")] == [True, True, False]


def test_a_value_that_is_sent_may_be_as_large_as_is_said() -> None:
    """And not a byte larger."""
    refuse_large("the value", bytes(LARGEST_SENT))
    with pytest.raises(TooLarge, match="the value takes 1,000,001 bytes, more than 1,000,000"):
        refuse_large("the value", bytes(LARGEST_SENT + 1))


def test_a_statement_that_is_not_in_its_file_is_named() -> None:
    """Whether the file was read before or not."""
    statements = Statements("queue.sql")
    for _ in range(2):
        with pytest.raises(KeyError, match="no such"):
            statements["no such"]
    name, text = next(iter(Statements("queue.sql").items()))
    assert statements[name] == text
    assert not text.endswith(";")


def test_statements_that_another_thread_reads_meanwhile() -> None:
    """Who asks just before the file was read, and finds out just after, gets the statement: the page failed over it."""
    name, text = next(iter(Statements("queue.sql").items()))

    class Overtaken(Statements):
        def __missing__(self, name: str) -> str:
            self.items()  # as another thread does, between the look into the dict and this
            return super().__missing__(name)

    assert Overtaken("queue.sql")[name] == text


def test_what_stands_in_for_an_object_equals_what_has_the_same_fields() -> None:
    """Another stand-in of the same class, or an instance of a class of that name that compares by its fields."""
    recorded = RecordedObject({"code": 1}, "Info")
    assert recorded == RecordedObject({"code": 1}, "Info") == Info(1)
    assert hash(recorded) == hash(RecordedObject({"code": 1}, "Info"))
    for other in (RecordedObject({"code": 2}, "Info"), RecordedObject({"code": 1}, "Other"), Info(2), 1, object()):
        assert recorded != other
    assert RecordedObject({"code": 1}, "SimpleNamespace") != SimpleNamespace(code=1)


def test_an_argument_is_added_under_a_name_that_is_free() -> None:
    """What is there keeps its own."""
    given = codec.pack_inputs([1], {"at": 2, "at_": 3}, owner="it")
    assert codec.describe_inputs(with_keyword(given, "at", "now")) == "(1, at=2, at_=3, at__='now')"
    assert codec.describe_inputs(with_keyword(codec.pack_inputs([1], {}, owner="it"), "at", "now")) == "(1, at='now')"


def test_what_is_to_be_awaited_is_named_as_such() -> None:
    """A future of another library, too."""

    class Future:
        def __await__(self) -> Any:
            yield

    with pytest.raises(NotStorable, match="is never awaited"):
        codec.pack_value(Future(), owner="it")
    with pytest.raises(NotStorable, match="is the handle of a run, and no data") as refused:
        codec.plan(None, owner="it").round_trip([Handle("flow-1", Mock())])
    assert refused.value.hint.startswith("return its `.id`")


def test_a_policy_that_says_what_the_rules_say_changes_nothing() -> None:
    """Otherwise it is named behind the rule."""
    permanent, transient = assess(ValueError("no"), 0.0), assess(ConnectionError("no"), 0.0)
    assert (permanent.kind, transient.kind) == ("permanent", "transient")
    never, on = Retry(never=(ValueError, ConnectionError)), Retry(on=ConnectionError)
    assert reassess(never, ValueError("no"), permanent) is permanent
    assert reassess(on, ConnectionError("no"), transient) is transient
    assert reassess(on, KeyboardInterrupt(), transient) is transient
    changed = reassess(never, ConnectionError("no"), transient)
    assert (changed.kind, "Retry(never=...)" in changed.rule) == ("permanent", True)
    assert reassess(on, ValueError("no"), transient).kind == "permanent"


@pytest.mark.parametrize("text", ["OLDPWD=/home/ann/projects", "PWD: /var/lib/perdure/state-1234567"])
def test_a_folder_is_no_password(text: str) -> None:
    """Though variables for folders end as those for passwords do."""
    assert redact(text) == text
    assert redact("DB_PWD=hunter22hunter22") == "DB_PWD=***"


def test_times_are_those_that_a_date_can_show() -> None:
    """None is none of them, and the same however a number is written."""
    assert are_times(None, 0, 1.5, -1.0)
    assert not are_times(1.0, YEAR_10000)
    assert not is_time(-YEAR_10000)
    assert not are_times(float("nan"))
    whole = msgspec.structs.replace(RUN, started=5, ended=7)
    assert whole.checksum() == msgspec.structs.replace(RUN, started=5.0, ended=7.0).checksum()
    assert whole.checksum() != msgspec.structs.replace(RUN, started=5, ended=8).checksum()


def test_the_classes_of_an_annotation_are_found_behind_an_alias() -> None:
    """As deep as annotations are read; what cannot be resolved is said, and admits anything."""
    found = Closed(TypeAliasType("Infos", list[Info]))
    assert (set(found.records), found.unread) == ({Info}, [])
    unknown = Closed(TypeAliasType("Unknown", "list[Missing]"))  # noqa: F821
    assert (unknown.records, unknown.unread) == ({}, ["list[Missing]"])
    deep = [reduce(lambda inner, _: list[inner], range(depth), Info) for depth in (40, 41)]  # type: ignore[valid-type]
    assert [set(Closed(one).records) for one in deep] == [{Info}, set()]


def test_what_came_first_of_several_waits_is_shown_with_its_payload() -> None:
    """Of other calls the result is as it is; of a damaged record nothing is shown that may be secret."""
    stands_in = msgspec.msgpack.encode(msgspec.msgpack.Ext(5, b"secret"))
    assert returned("builtin", WAIT_ANY, stands_in) == stands_in
    for kind, name in (("step", WAIT_ANY), ("builtin", "perdure.sleep")):
        assert returned(kind, name, b"as it is") == b"as it is"
    assert b"secret" not in returned("builtin", WAIT_ANY, b"\xc1secret")


def test_inputs_that_differ_in_times_and_random_ids_alone() -> None:
    """Each pair is named, but for those under the name of a secret."""
    one, two = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"

    def differ(before: Any, after: Any) -> list[tuple[str, str]]:
        return drawn_anew(*(codec.pack_inputs(given, {}, owner="it") for given in (before, after)))

    assert differ([1, one], [1, two]) == [(one, two)]
    assert differ([{"token": one}], [{"token": two}]) == [("***", "***")]
    assert differ([1, one], [2, two]) == differ([one], [one, two]) == differ([one], [one]) == []
    assert differ(["2026-01-01 10:00:00", one], ["2026-01-01 10:00:01", one])[0][1].endswith("01")


def test_a_run_that_cannot_be_gone_on_with_says_what_can_be_done() -> None:
    """One that is parked is resumed; of others a fork is made."""
    parked, done = (msgspec.structs.replace(RUN, id="r-1", status=status) for status in ("parked", "done"))
    assert "run r-1 has failed too often and is parked" in str(run_refusals.ended(parked))
    assert "run r-1 was done" in str(run_refusals.ended(done))
    assert "perdure fork r-1 --from STEP" in str(run_refusals.ended(done))


def test_a_name_is_read_for_secrets_up_to_a_length() -> None:
    """What is longer is no name of anything."""
    assert is_secret("x" * 71 + "_password")
    assert not is_secret("x" * 72 + "_password")


def test_what_is_offered_instead_of_a_place_that_is_not_there() -> None:
    """A dozen names, and that there are more."""
    for count, end in ((0, "nothing"), (12, "n11"), (13, "n11, ...")):
        said = str(_no_place("input.x", "x", [f"n{number}" for number in range(count)]))
        assert said.endswith(end)
        assert "there is no 'x' in the input (input.x)" in said


def test_secrets_and_classes_are_found_inside_of_other_values() -> None:
    """However deep; a text that holds their mark is none."""
    deep = codec.pack_inputs([{"a": ({Info(1): (Secret("hidden value"),)},)}], {}, owner="it")
    assert codec.withholds(deep)
    assert codec.holds_classes(deep)
    plain = codec.pack_inputs([bytes(range(256)), "".join(map(chr, range(128))), (1, (2,))], {}, owner="it")
    assert not codec.withholds(plain)
    assert not codec.holds_classes(plain)
    assert not codec.names_only(plain)


def test_parameters_are_the_same_whoever_reads_them() -> None:
    """Of a plain function they are read from its code, of others from their signature."""

    def plain(a: int, /, b: int, c: int = 3, *rest: int, d: int, e: int = 5, **more: int) -> None: ...

    def marked(a: int, /, b: int, c: int = 3, *rest: int, d: int, e: int = 5, **more: int) -> None: ...

    marked.attribute = True  # type: ignore[attr-defined]
    for fn in (plain, marked):
        found = parameters_of(fn)
        assert found is not None
        assert (found.places, found.named, found.defaults) == (("a", "b", "c"), ("d", "e"), {"c": 3, "e": 5})
        assert (found.names, found.is_simple) == (["a", "b", "c", "rest", "d", "e", "more"], False)
        assert found.filled((1,), {}) is None
    simple = parameters_of(lambda a, b=2: None)
    assert simple is not None
    assert simple.filled((1,), {}) == {"a": 1, "b": 2}
    assert simple.filled((1,), {"b": 3}) == simple.filled((1, 3), {}) == {"a": 1, "b": 3}
    for args, kwargs in (((), {}), ((1, 2, 3), {}), ((1,), {"a": 1}), ((1,), {"c": 1})):
        assert simple.filled(args, kwargs) is None
    assert parameters_of(dict.fromkeys) is None or parameters_of(type) is None


def test_how_a_record_begins_what_it_names() -> None:
    """A workflow that is called or enqueued, a step or a child workflow, or something of perdure's own."""
    named = [f"{CALLED}pay", f"{ENQUEUED}mail", "perdure.sleep", "charge"]
    assert [begun_by(name) for name in named] == [
        (CALLED, "pay"),
        (ENQUEUED, "mail"),
        (RESERVED, "sleep"),
        ("", "charge"),
    ]


@pytest.mark.parametrize(
    ("line", "comment", "accepted"),
    [(6, 6, True), (6, 5, True), (6, 4, False), (6, 3, True), (6, 2, True), (6, 1, True), (6, 7, False), (9, 1, False)],
)
def test_where_a_comment_accepts_that_an_effect_is_repeated(line: int, comment: int, accepted: bool) -> None:
    """At the line, above it, or at the head of its function, which begins above its decorators."""
    lines = ["", "@step", "def send():", "    a()", "    b()", "    c()", "", "", "c()"]
    lines[comment - 1] += "  # perdure: repeatable it is idempotent"
    assert accepts_repetition("\n".join(lines), line) is accepted
    assert not accepts_repetition("\n".join(lines).replace("it is idempotent", ""), line)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (12_345_678, "12.3 MB"),
        (2 * 10**9, "2 GB"),
        (999_400_000_000, "999 GB"),
        (10**12, "1 TB"),
        (12_345 * 10**12, "12,345 TB"),
    ],
)
def test_a_size_with_its_unit(count: int, shown: str) -> None:
    """Three digits; a thousand of a unit are one of the next."""
    assert show_size(count) == shown


def test_what_an_exception_came_from_is_followed_up_to_a_bound() -> None:
    """Not into what was handled already where the run was called, and not round a circle."""
    errors = [ValueError(number) for number in range(MOST + 3)]
    for one, before in pairwise(errors):
        one.__context__ = before
    assert list(chain(errors[0], None)) == errors[:MOST]
    assert list(chain(errors[0], errors[2])) == errors[:2]
    assert list(chain(errors[0], errors[0])) == []
    errors[1].__context__ = errors[0]
    assert list(chain(errors[0], None)) == errors[:2]


def test_what_is_made_while_an_exception_is_handled_is_due_to_it() -> None:
    """From the first record since: of this life, or the one that a call has claimed since. The last ones are known."""
    own = OwnErrors()
    first, second = ValueError(1), SystemExit(2)
    own.handles([first], 7)
    own.handles([first, second], 9)
    assert own.first == {id(first): 7, id(second): 9}
    own.came_to(8)
    own.came_to(9)
    assert own.first == {id(first): 7, id(second): 8}
    own.came_to(3)
    assert own.first == {id(first): 3, id(second): 3}
    more = [ValueError(number) for number in range(MOST - 1)]
    own.handles([first], 10)
    own.handles(more, 11)
    assert set(own.first) == {id(one) for one in (first, *more)}


def test_keys_are_known_by_nine_bytes_at_their_own_places() -> None:
    """Not by bytes that stand across two of them."""
    one, two = bytes([1, 1]) + bytes(range(10, 24)), bytes([1, 1]) + bytes(range(30, 44))
    across = bytes([1, 1]) + one[5:9] + two[2:5] + bytes(7)
    for keys in (ManyKeys(), ManyKeys()):
        assert not keys.add(one)
        assert not keys.add(two)
        assert across not in keys
        assert not keys.add(across)
        assert (one in keys, two in keys, across in keys) == (True, True, True)
        assert (keys.add(one), keys.add(two), keys.add(across)) == (True, True, True)
    assert one[:9] + b"another" in keys
    assert bytes([1, 2]) + one[2:] not in keys
    assert bytes([2, 1]) + one[2:] not in keys
    together = ManyKeys()
    together.add_all(one + two + across)
    assert all(key in together for key in (one, two, across))
    assert bytes([1, 1]) + one[3:10] + bytes(7) not in together
    together.add_all(bytes([9, 9]) + one[2:])
    assert bytes([9, 9]) + one[2:] in together
