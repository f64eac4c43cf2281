"""What is known about a kind of failure, or about the text of an error: `perdure failures`."""

from __future__ import annotations

import difflib
import os

from perdure.catalogue.entries import Entry, entries
from perdure.catalogue.rules import assess_for
from perdure.core.policies.classify import Assessment
from perdure.errors import NotFound


def entry(code: str) -> Entry:
    """The entry of the catalogue.

    Raises:
        NotFound: there is none of that code.
    """
    known = entries()
    if code in known:
        return known[code]
    meant = difflib.get_close_matches(code, known, 1)
    hint = "list the entries with `perdure failures`"
    if meant:
        hint = f"did you mean {meant[0]!r}? Otherwise list the entries with `perdure failures`"
    raise NotFound(f"the failure catalogue has no entry {code!r}", hint)


def explain_text(text: str) -> Assessment:
    """What the rules say about the text of an error, of which nothing else is known.

    Args:
        text: the message; the first 2,000 characters count.
    """
    kind, _, message = text.partition(": ")
    name = kind.strip().rpartition("\n")[2]
    error: Exception = Exception(text)
    if message and name.replace(".", "").replace("_", "").isalnum():
        # A class of that name: what is printed of an exception begins with it. It is made here, nothing is looked up.
        module, _, bare = name.rpartition(".")
        error = type(bare, (Exception,), {"__module__": module or "builtins"})(message)
    return assess_for(os.path.join(os.getcwd(), "pyproject.toml"), error)
