"""Regular expressions that are compiled at their first use: most scripts never come to use them."""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Pattern:
    def __init__(self, text: Any, flags: int) -> None:
        self._given = (text, flags)

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(re.compile(*self._given), name)
        return found


def later(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """As `re.compile`, at the first use.

    Args:
        text: the pattern; one that is not valid raises `re.error` when it is used.
        flags: as those of `re.compile`.
    """
    return cast("re.Pattern[AnyStr]", _Pattern(text, flags))
