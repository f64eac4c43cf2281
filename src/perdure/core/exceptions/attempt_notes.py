"""The failed attempts of a call, as notes on the exception that the last one raised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from perdure.core.durations import show

_LONGEST_LINE = 200
_NOTED = 8


class AttemptNote(msgspec.Struct, frozen=True):
    """One failed attempt in short: the name of the error's class, and its message.

    `verdict` is what was known of it when it happened, packed (`core/policies/verdicts.py`). It began at `started`, in
    seconds since the epoch, and took `seconds`; None if that was not kept.
    """

    error: str
    message: str
    verdict: bytes | None = None
    started: float = 0.0
    seconds: float | None = None


def note(owner: str, attempts: Sequence[AttemptNote], took: float, why: str = "") -> list[str]:
    """Lines to add to the user's own exception with add_note(): how often it was tried, and what each try said.

    Args:
        owner: who failed: "step 'charge'".
        attempts: every failed attempt, in order.
        took: seconds from the beginning of the first attempt to the end of the last.
        why: why it was not tried again, in words.
    """
    ending = f"; {why}" if why else ""
    if len(attempts) <= 1:
        return [f"perdure: {owner} failed at its first attempt, after {show(took)}{ending}"]
    lines = [f"perdure: {owner} failed {len(attempts)} times in {show(took)}{ending}"]
    groups = list(_alike(attempts))
    for index, (first, last, text) in enumerate(groups):
        if len(groups) > _NOTED and index == _NOTED // 2:
            lines.append(f"  ... {len(groups) - _NOTED + 1} lines left out")
        if len(groups) <= _NOTED or index < _NOTED // 2 or index > len(groups) - _NOTED // 2:
            lines.append(f"  {first}. {text}" if first == last else f"  {first}-{last}. {text}")
    return lines


def _alike(attempts: Sequence[AttemptNote]) -> Iterator[tuple[int, int, str]]:
    """Attempts in a row that said the same, as one: the first's number, the last's number, and what they said."""
    first = 1
    for number, attempt in enumerate(attempts, start=1):
        following = attempts[number] if number < len(attempts) else None
        if following is None or (following.error, following.message) != (attempt.error, attempt.message):
            message = " ".join(attempt.message[: 2 * _LONGEST_LINE].split())
            yield first, number, cut(f"{attempt.error}: {message}" if message else attempt.error, _LONGEST_LINE)
            first = number + 1


def cut(text: str, longest: int) -> str:
    """A text, or its beginning if it is longer."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
