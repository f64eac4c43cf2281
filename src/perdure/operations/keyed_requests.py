"""Carries out what a program asks for, once by the key that it gives: also if it asks again, of another process."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from perdure.core.digests import blake2b
from perdure.engines.features import Feature
from perdure.errors import OptionError, RunError, StateError
from perdure.operations.location import Location, opened_for_change
from perdure.store import keyed_requests
from perdure.store.group_commit import Operation
from perdure.store.keyed_requests import KeyedRequest
from perdure.store.liveness import Liveness

REMEMBERED: Final = 1_000
"""Requests that are known by their keys where there is no state file: the newest ones of the process."""


class KeyReused(OptionError):
    """Something else was asked for under a key."""

    code = "key-reused"


class RequestUnderWay(RunError):
    """Another process carries out what was asked for under a key."""

    code = "request-under-way"


class RequestUncertain(RunError):
    """A process died while it carried out what was asked for under a key."""

    code = "request-uncertain"


class Answer(NamedTuple):
    """What is answered: a status of HTTP, and the body with its media type."""

    status: int
    media: str
    body: bytes


class KeyedRequests:
    """Requests to change something, one at a time, each carried out once.

    Args:
        location: the state file, in which they are known by their keys to every process and for a week; on a cluster
            it is this process that knows them.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, KeyedRequest] = OrderedDict()

    def once(self, key: str, asked: str, do: Callable[[], Answer]) -> Answer:
        """The answer to a request, which is carried out unless it was before.

        Args:
            key: what its sender calls it.
            asked: what is asked for.
            do: carries it out. It did nothing if the status is 500 or above.

        Raises:
            KeyReused: something else was asked for under that key.
            RequestUnderWay: another process carries it out at this moment.
            RequestUncertain: a process died while it did.
            NotFound: there is no state file.
            StateError: it cannot be used.
        """
        request = KeyedRequest(_digest(key), _digest(asked), time.time(), "")
        with self._lock:
            if not self._location.supports(Feature.STATE_FILE):
                return self._in_this_process(request, do)
            alive = Liveness(self._location.path)
            try:
                with opened_for_change(self._location) as store:
                    request = request._replace(token=alive.show())
                    before: KeyedRequest | None = store.journal.write((), keyed_requests.claim(request, store.path))
                if before is not None:
                    return _answer_to(before, request, alive)
                return self._carried_out(request, do)
            finally:
                alive.close()

    def _carried_out(self, request: KeyedRequest, do: Callable[[], Answer]) -> Answer:
        try:
            answer = do()
        except BaseException:
            self._note(keyed_requests.forget(request.key))
            raise
        if answer.status >= 500:
            self._note(keyed_requests.forget(request.key))
        else:
            self._note(keyed_requests.answered(request._replace(**answer._asdict())))
        return answer

    def _note(self, operation: Operation) -> None:
        """What was done stands, if the answer to it cannot be kept: asked for again, that is not known."""
        try:
            with opened_for_change(self._location) as store:
                store.journal.write((), operation)
        except (StateError, OptionError) as error:
            logging.getLogger("perdure").warning("the answer to a request cannot be kept: %s", error)

    def _in_this_process(self, request: KeyedRequest, do: Callable[[], Answer]) -> Answer:
        before = self._known.get(request.key)
        if before is not None:
            return _answer_to(before, request, None)
        answer = do()
        if answer.status < 500:
            self._known[request.key] = request._replace(**answer._asdict())
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return answer


def _answer_to(before: KeyedRequest, now: KeyedRequest, alive: Liveness | None) -> Answer:
    if before.asked != now.asked:
        raise KeyReused("something else was asked for under that Idempotency-Key", "send a fresh random one")
    if before.status is not None and before.media is not None and before.body is not None:
        return Answer(before.status, before.media, before.body)
    if alive is not None and alive.lives(before.token):
        raise RequestUnderWay(
            "another process carries out what was asked for under that Idempotency-Key",
            "ask again with the same key in a moment",
        )
    raise RequestUncertain(
        "a process died while it carried out what was asked for under that Idempotency-Key; whether it was done is not "
        "known, and it is not done again",
        "look at what it is about; if it was not done, send it under a fresh key",
    )


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
