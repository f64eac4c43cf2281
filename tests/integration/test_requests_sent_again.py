"""A request to change something is carried out once by its key, whichever process it is sent to again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import warm
from perdure.operations.keyed_requests import Answer, KeyedRequests, KeyReused, RequestUncertain, RequestUnderWay
from perdure.operations.location import Location
from perdure.store import keyed_requests
from perdure.store.runs import Store

DONE = Answer(200, "application/json", b'{"id":"1"}')

DIES = """
import os, sys
from pathlib import Path
from perdure.operations.keyed_requests import KeyedRequests
from perdure.operations.location import Location
KeyedRequests(Location(Path(sys.argv[1]), "a test")).once("a-key", "fork r1", lambda: os._exit(9))
"""


class Work:
    """What is carried out; counts how often."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.times = 0

    def __call__(self) -> Answer:
        self.times += 1
        return self.answers.pop(0) if self.answers else DONE


@pytest.fixture
def location(tmp_path: Path) -> Location:
    Store(tmp_path / "state.db").close()
    return Location(tmp_path / "state.db", "a test")


def test_another_process_gives_the_answer_of_the_first(location: Location) -> None:
    """It is in the state file: the one that is asked again knows the answer, and carries out nothing."""
    work = Work(Answer(409, "application/problem+json", b"{}"))
    for _ in range(2):
        assert KeyedRequests(location).once("a-key", "fork r1", work).status == 409
    assert KeyedRequests(location).once("another-key", "fork r1", work) == DONE
    assert work.times == 2
    with pytest.raises(KeyReused):
        KeyedRequests(location).once("a-key", "fork r2", work)
    assert work.times == 2


def test_what_did_nothing_is_carried_out_when_it_is_sent_again(location: Location) -> None:
    """A request that could not be carried out (500 and above, or an error) does not use its key up."""
    work = Work(Answer(503, "application/problem+json", b"{}"))
    assert KeyedRequests(location).once("a-key", "fork r1", work).status == 503
    with pytest.raises(ZeroDivisionError):
        KeyedRequests(location).once("a-key", "fork r1", lambda: Answer(1 // 0, "", b""))
    assert KeyedRequests(location).once("a-key", "fork r1", work) == DONE


def test_a_process_that_died_at_it_leaves_it_uncertain(location: Location) -> None:
    """Whether it was done is not known, so it is not done again, and that is said."""
    died = warm.run([sys.executable, "-c", DIES, str(location.path)], check=False)
    assert died.returncode == 9
    work = Work()
    with pytest.raises(RequestUncertain):
        KeyedRequests(location).once("a-key", "fork r1", work)
    assert work.times == 0


def test_two_processes_do_not_carry_it_out_at_the_same_time(location: Location) -> None:
    """The one that came first is at it, and alive; the other one says so."""
    work = Work()
    asked_again: list[type[Exception]] = []

    def at_it() -> Answer:
        with pytest.raises(RequestUnderWay) as refused:
            KeyedRequests(location).once("a-key", "fork r1", work)
        asked_again.append(refused.type)
        return DONE

    assert KeyedRequests(location).once("a-key", "fork r1", at_it) == DONE
    assert asked_again == [RequestUnderWay]
    assert (KeyedRequests(location).once("a-key", "fork r1", work), work.times) == (DONE, 0)


def test_a_key_is_known_for_a_week(location: Location) -> None:
    """What is older goes with the next request, so that the file does not grow with them."""
    long_ago = keyed_requests.KeyedRequest(bytes(16), bytes(16), 1.0, "1-0123456789abcdef")
    store = Store(location.path)
    store.journal.write((), keyed_requests.answered(long_ago))
    store.close()
    KeyedRequests(location).once("a-key", "fork r1", Work())
    store = Store(location.path)
    (left,) = store.journal.read(lambda at: at.execute("SELECT count(*) FROM keyed_request").fetchone())
    store.close()
    assert left == 1


def test_where_there_is_no_state_file_the_process_knows_it() -> None:
    """On a cluster a request is carried out once by the process that it is sent to."""
    requests, work = KeyedRequests(Location(Path(), "a test", engine="temporal://127.0.0.1:1/x")), Work()
    assert [requests.once("a-key", "fork r1", work) for _ in range(2)] == [DONE, DONE]
    assert work.times == 1
    with pytest.raises(KeyReused):
        requests.once("a-key", "fork r2", work)
