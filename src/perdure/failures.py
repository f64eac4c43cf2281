"""What kind of failure an exception is, and the catalogue of failures: what they look like, why, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Literal

import msgspec

from perdure.catalogue.entries import Entry, entries
from perdure.catalogue.rules import assess_for

__all__ = ["Entry", "Failure", "catalogue", "classify"]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a failure.

    Attributes:
        kind: "transient" may be gone at the next try, "permanent" stays, "throttled" passes when the caller has waited.
        code: the entry of the catalogue; None if none is known.
        status: the HTTP status that the server answered with.
        retry_after: seconds from now that the server asked to wait.
        rule: what it goes by, in words; empty if no rule matches.
        confidence: "certain" by class, status, errno or attribute; "likely" by the message; "possible" if no rule
            matches, or only one about what was being handled or about what holds if nothing else is known.
    """

    kind: Literal["transient", "permanent", "throttled"]
    code: str | None = None
    status: int | None = None
    retry_after: float | None = None
    rule: str = ""
    confidence: Literal["certain", "likely", "possible"] = "possible"


def classify(exc: BaseException) -> Failure:
    """What kind of failure an exception is, by the rules that steps of this program are retried by.

    Rules of `[[tool.perdure.failures]]` in pyproject.toml come first, then those of plug-ins (entry point group
    `perdure.failures`), then perdure's own. No client library is imported for it.

    Args:
        exc: the exception.

    Raises:
        OptionError: a rule in pyproject.toml is not valid.
    """
    main = sys.modules.get("__main__")
    seen = assess_for(str(getattr(main, "__file__", None) or ""), exc)
    return Failure(
        kind=seen.kind,
        code=seen.code,
        status=seen.status,
        retry_after=seen.retry_after,
        rule=seen.rule,
        confidence=seen.confidence,
    )


def catalogue() -> Mapping[str, Entry]:
    """The entries of the failure catalogue, by code, in the order of the documentation."""
    return entries()
