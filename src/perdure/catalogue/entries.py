"""The entries of the failure catalogue, each a page of Markdown in `entries/`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec

from perdure.core.policies.failure_rules import CODES

FOLDER = Path(__file__).parent / "entries"

SECTIONS = ("What you see", "Why", "What to do", "How to prevent it", "What perdure does")
"""The headings of a page, in order."""


class Entry(msgspec.Struct, frozen=True):
    """A kind of failure.

    Attributes:
        code: its name, such as "rate-limit-spiral".
        title: what it is, in a line.
        symptoms: what a user sees.
        causes: why it happens.
        fix: what to do about it now.
        prevent: how to write the script so that it does not happen.
        support: what perdure does by itself.
        markdown: the page as a whole.
    """

    code: str
    title: str
    symptoms: str
    causes: str
    fix: str
    prevent: str
    support: str
    markdown: str


@cache
def entries() -> Mapping[str, Entry]:
    """All entries, by code."""
    return MappingProxyType({code: _read(code) for code in CODES})


def _read(code: str) -> Entry:
    text = (FOLDER / f"{code}.md").read_text(encoding="utf-8")
    head, *parts = text.split("\n## ")
    sections = {name.strip(): body.strip() for name, _, body in (part.partition("\n") for part in parts)}
    title = head.partition("\n\n")[2].strip()
    symptoms, causes, fix, prevent, support = (sections[name] for name in SECTIONS)
    return Entry(code, title, symptoms, causes, fix, prevent, support, text)
