"""Redacts the text of alerts and escapes its control characters, so that it misleads neither terminal nor reader."""

from __future__ import annotations

import unicodedata

from perdure.config.secrets import conceal

LONGEST = 20_000
"""Characters of a text that are looked at; what is sent of them is far less."""

_KEPT = "\n\t\u200c\u200d"
"""Besides what can be printed: the two joiners, which scripts and emoji are made with, do no harm."""

_JOINERS = " \u200c\u200d\ufe0f"
"""What has lost its letter at the end of a text that was cut, and would be drawn on the dots."""


def clean(text: str, longest: int = LONGEST) -> str:
    """The first `longest` characters of the text, without credentials, and with invisible characters escaped.

    Never raises: a text that cannot be redacted is withheld.
    """
    try:
        # Made visible first, since an invisible character in the middle would hide a secret from the rules.
        return conceal(harmless(text[:longest]))
    except Exception:  # noqa: BLE001  an alert about a strange text is worth more than the text
        return "(a text that could not be redacted)"


def harmless(text: str) -> str:
    """Control characters, bidi overrides and lone surrogates are written as escapes; line breaks and tabs are kept."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in _KEPT else _visible(c) for c in text)


def _visible(c: str) -> str:
    return " " if unicodedata.category(c) == "Zs" else ascii(c)[1:-1]


def one_line(text: str) -> str:
    """The text with its line breaks and runs of blanks as single spaces."""
    return " ".join(text.split())


def cut(text: str, limit: int) -> str:
    """At most `limit` characters; where something is missing stands `...`, after a whole word if one ends near."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 3]
    space = kept.rfind(" ")
    if space > limit * 2 // 3:
        kept = kept[:space]
    return kept.rstrip(_JOINERS) + "..."
