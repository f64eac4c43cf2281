"""What a setting may be: each function takes a value as it is written, and says in its error where that stands."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from perdure.core.durations import seconds
from perdure.core.patterns import later
from perdure.errors import OptionError

ON = ("1", "true", "yes", "on")
OFF = ("", "0", "false", "no", "off")

_HTTP = later(r"https?://[^\s/?#]+\S*", re.IGNORECASE)


def text(value: Any, where: str) -> str:
    """A text, such as an address or a path.

    Raises:
        OptionError: it is none, or empty.
    """
    if not isinstance(value, str) or not value.strip():
        raise OptionError(f"{where} is {value!r}", "give a text in quotes")
    return value


def switch(value: Any, where: str) -> bool:
    """On or off.

    Raises:
        OptionError: it is neither.
    """
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in (*ON, *OFF):
        raise OptionError(f"{where} is {value!r}", "give 1 or 0 in the environment, true or false in pyproject.toml")
    return word in ON


def switched_on(variable: str) -> bool:
    """Whether an environment variable says that something is on.

    Raises:
        OptionError: it says neither on nor off.
    """
    return switch(os.environ.get(variable, ""), variable)


def whole(value: Any, where: str) -> int:
    """A whole number of at least 1.

    Raises:
        OptionError: it is none.
    """
    digits = str(value).strip() if not isinstance(value, bool | float) else ""
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18 or int(digits) < 1:
        raise OptionError(f"{where} is {value!r}", "give a whole number of at least 1")
    return int(digits)


_NUMBER = later(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def duration(value: Any, where: str) -> float:
    """A length of time, in seconds; a variable of the environment says a number of them as text.

    Raises:
        OptionError: it is none.
    """
    if isinstance(value, str) and _NUMBER.fullmatch(text := value.strip()):
        value = float(text)
    try:
        return seconds(value, option=where)
    except OptionError as error:  # there is no timedelta in a setting
        raise OptionError(
            error.what, error.hint.replace("a number of seconds, a timedelta, or", "seconds, or")
        ) from None


def milliseconds(value: Any, where: str) -> float:
    """A number of milliseconds of more than 0, as seconds.

    Raises:
        OptionError: it is none.
    """
    try:
        length = float(value) / 1000
    except ValueError:
        length = 0.0
    if not length > 0:
        raise OptionError(f"{where} is {value!r}", f"give a number of milliseconds, for instance {where}=20000")
    return length


def http_address(value: Any, where: str) -> str:
    """An address of a web server. It may hold a secret: the error does not show it.

    Raises:
        OptionError: it is none.
    """
    if not isinstance(value, str) or not _HTTP.fullmatch(value):
        raise OptionError(f"{where} is not the address of a web server", "give one such as https://example.org/ping/1")
    return value


def file(value: Any, where: str) -> Path:
    """A file that is written, absolute.

    Raises:
        OptionError: it is a folder.
    """
    path = Path(text(value, where)).absolute()
    if os.path.isdir(path):  # `Path.is_dir` fails where the path leads into a folder that is closed
        raise OptionError(f"{where} is a folder: {path}", "give the path of a file in it")
    return path


def targets(value: Any, where: str) -> list[str]:
    """Targets of alerts, one or several in each text; whether they are addresses is known where alerts are sent.

    Raises:
        OptionError: it is neither a text nor a list of texts.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise OptionError(f"{where} is not a list of targets", 'give a list, such as alerts = ["https://host/path"]')
    return texts
