"""Text that a terminal, a log or a reader takes for nothing but text: what would be acted on, or not seen, is escaped.

That is every character that Unicode does not count as printable: control characters (C0, and C1 from U+007F on), those
that change the direction of writing, those that take no space, and unpaired surrogates.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with escapes such as `\\\\x1b`; line breaks and tabs are kept."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The same for a line of a log: a line break is escaped too, so that no text makes a line of its own."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def json_text(data: bytes | str) -> str:
    """JSON of the same content in which such characters stand as `\\\\u` escapes (RFC 8259, section 7)."""
    text = data.decode("utf-8", "surrogatepass") if isinstance(data, bytes) else data
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\r\t" else _escaped(c) for c in text)


def _escaped(c: str) -> str:
    code = ord(c)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"
