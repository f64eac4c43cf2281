"""A text that somebody looks for, as it is shown: what is stored is encoded, and holds other bytes than people see."""

from __future__ import annotations

from perdure.config import secrets
from perdure.core.exceptions import capture
from perdure.core.values import codec
from perdure.errors import OptionError, PerdureError

LONGEST = 10_000
"""Characters of a value that are looked through: views show fewer."""


class ShownText:
    """Looks for a text. Its case counts, and credentials are not there to be found.

    Args:
        text: as it stands in a view.

    Raises:
        OptionError: it is no text.
    """

    def __init__(self, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise OptionError(f"{text!r} is not UTF-8", "give a text that is") from error
        self.text = text
        self._hide = secrets.redactor()
        self._masked = "*" in text

    def in_text(self, shown: str) -> bool:
        """Is it in a text that is shown without its credentials?"""
        # Hiding only puts stars in the place of something: what is not there before, and has none, is not there after.
        return (self._masked or self.text in shown) and self.text in self._hide(shown)

    def in_inputs(self, packed: bytes) -> bool:
        """Is it in arguments, as a view shows them?"""
        return self.in_text(codec.describe_inputs(packed, LONGEST))

    def in_error(self, packed: bytes | None) -> bool:
        """Is it in the line that is shown of an error?"""
        if packed is None:
            return False
        try:
            return self.in_text(capture.decode(packed).line)
        except PerdureError as unreadable:
            return self.text in unreadable.what
