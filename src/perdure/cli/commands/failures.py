"""`perdure failures`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from perdure.catalogue.entries import entries
from perdure.cli.exit_codes import DONE
from perdure.cli.shared_parameters import Json
from perdure.cli.view.terminal import Printer, as_json, safe
from perdure.core.durations import show
from perdure.errors import OptionError
from perdure.operations.failures import entry, explain_text

Code = Annotated[str | None, Parameter(help="An entry, such as rate-limit-spiral; all of them by default.")]
Explain = Annotated[str | None, Parameter("--explain", help="The text of an error: say what kind of failure it is.")]
Markdown = Annotated[bool, Parameter("--markdown", negative="", help="The pages as Markdown.")]


def failures(code: Code = None, *, explain: Explain = None, json: Json = False, markdown: Markdown = False) -> int:
    """Carry out `perdure failures`; returns the exit code."""
    if explain is not None:
        if code is not None or markdown:
            raise OptionError("--explain goes with neither an entry nor --markdown", "give the text alone")
        return _explain(explain, json=json)
    found = list(entries().values()) if code is None else [entry(code)]
    if json:
        as_json({"failures": found})
        return DONE
    printer = Printer()
    if markdown or code is not None:
        printer.line("\n".join(one.markdown for one in found).rstrip())
        return DONE
    width = max(len(one.code) for one in found)
    for one in found:
        printer.line(f"{one.code:<{width}}  {one.title}")
    printer.line()
    printer.line("read an entry:      perdure failures CODE", "bold")
    printer.line("explain an error:   perdure failures --explain TEXT", "bold")
    return DONE


def _explain(text: str, *, json: bool) -> int:
    seen = explain_text(text)
    if json:
        as_json(msgspec.structs.asdict(seen))
        return DONE
    printer = Printer()
    if not seen.rule:
        printer.line("no rule knows this error: it would be tried again")
        return DONE
    printer.line(f"{_KINDS[seen.kind]} ({seen.confidence})")
    printer.line(safe(f"it goes by {seen.rule}"))
    if seen.retry_after is not None:
        printer.line(f"to wait: {show(seen.retry_after)}")
    if seen.code is not None:
        printer.line(f"this kind of failure: {seen.code}")
        printer.line(entries()[seen.code].fix)
        printer.line(f"read more:  perdure failures {seen.code}", "bold")
    return DONE


_KINDS = {
    "permanent": "permanent: trying again does not help",
    "transient": "transient: the next try may go well",
    "throttled": "throttled: it passes when the caller waits",
}
