"""What is read by programs as a whole: an export as JSON Lines, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from perdure.errors import NotFound, OptionError
from perdure.operations import letter_pages, ps, run_views
from perdure.operations.dead_letters import Selection, details_of, find_letter
from perdure.operations.dead_letters import Standing as LetterStanding
from perdure.operations.find_run import find_run
from perdure.operations.location import opened
from perdure.operations.metrics import metrics_of
from perdure.operations.paging import PAGE
from perdure.operations.run_log import Level, log_of
from perdure.operations.step_rows import StepFilter, step_rows
from perdure.web.answers import clean
from perdure.web.api_runs import step
from perdure.web.endpoints import Desk, Nothing

if TYPE_CHECKING:
    from starlette.responses import Response

METRICS: Final = "text/plain; version=0.0.4"


class ExportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is exported: the dead letters of a reason or a standing, the runs that stand so, of a workflow or with a
    text, all without them; or the steps of a run, or what its attempts have logged and printed, of a level or graver
    and with a text."""

    what: Literal["letters", "runs", "steps", "log"]
    run: str | None = None
    reason: str | None = None
    status: LetterStanding | None = None
    standing: run_views.Standing | None = None
    workflow: str | None = None
    q: str | None = None
    level: Level | None = None


def export(desk: Desk, given: ExportQuery) -> Response:
    """Rows as JSON Lines, to be saved as a file: read and sent a page at a time, whatever their number.

    Raises:
        NotFound: there is no such run.
        OptionError: a reason is not valid.
        StateError: the file cannot be read.
    """
    from starlette.responses import StreamingResponse

    if given.what in ("steps", "log") and given.run is None:
        raise OptionError(f"what={given.what} is of a run, and run is not given", "add run=ID to the address")
    pages = {"letters": _letters, "runs": _runs, "steps": _steps, "log": _log}[given.what](desk, given)
    first = next(pages, b"")  # what is wrong is said now, and not in the middle of a file

    def content() -> Iterator[bytes]:
        yield first
        yield from pages

    return StreamingResponse(
        content(),
        media_type="application/jsonl",
        headers={"content-disposition": f'attachment; filename="{given.what}.jsonl"'},
    )


def value_of(desk: Desk, run: str, number: str, what: Literal["input", "result"]) -> Response:
    """The input or the result of a step as a file of JSON, as long as it is, without credentials.

    Raises:
        NotFound: there is no such run or step, or it has no result.
        StateError: the file cannot be read.
    """
    from starlette.responses import Response

    shown = step(desk, {"run": run, "seq": number}, Nothing())
    if what == "result" and shown.status != "done":
        raise NotFound(
            f"step #{shown.seq} of run {run} has no result: it is {shown.status}",
            "read its input, or its error in the step itself",
        )
    content = msgspec.json.encode(clean(shown.inputs if what == "input" else shown.result, None))
    name = f'attachment; filename="step-{shown.seq}-{what}.json"'
    return Response(content, media_type="application/json", headers={"content-disposition": name})


def metrics(desk: Desk) -> Response:
    """The metrics in the text format of Prometheus.

    Raises:
        StateError: the file cannot be read.
    """
    from starlette.responses import Response

    return Response(metrics_of(desk.location), media_type=METRICS)


def _letters(desk: Desk, given: ExportQuery) -> Iterator[bytes]:
    wanted = Selection(given.status, given.run, reason=given.reason)

    def page(cursor: str | None) -> tuple[list[Any], str | None]:
        with opened(desk.location) as store:
            page = letter_pages.letters_page(store, wanted, cursor=cursor)
            return [details_of(store, find_letter(store, str(one.letter))) for one in page.letters], page.next

    return _pages(page)


def _runs(desk: Desk, given: ExportQuery) -> Iterator[bytes]:
    wanted = ps.RunFilter(given.standing, given.workflow, children=True, text=given.q or None)

    def page(cursor: str | None) -> tuple[list[Any], str | None]:
        with opened(desk.location) as store:
            page = ps.runs_page(store, wanted, cursor=cursor)
            return page.runs, page.next

    return _pages(page)


def _steps(desk: Desk, given: ExportQuery) -> Iterator[bytes]:
    def page(cursor: str | None) -> tuple[list[Any], str | None]:
        with opened(desk.location, given.run) as store:
            page = step_rows(store, find_run(store, given.run or ""), StepFilter(), cursor=cursor, limit=PAGE)
            return page.steps, page.next

    return _pages(page)


def _log(desk: Desk, given: ExportQuery) -> Iterator[bytes]:
    with opened(desk.location, given.run) as store:
        lines = log_of(store, find_run(store, given.run or ""), level=given.level, text=given.q or None)
    for first in range(0, len(lines), PAGE):
        yield _lines(lines[first : first + PAGE])


def _pages(page: Callable[[str | None], tuple[list[Any], str | None]]) -> Iterator[bytes]:
    """Page by page; the file is closed in between."""
    cursor = None
    while True:
        rows, cursor = page(cursor)
        yield _lines(rows)
        if cursor is None:
            return


def _lines(rows: list[Any]) -> bytes:
    return b"".join(msgspec.json.encode(clean(one)) + b"\n" for one in rows)
