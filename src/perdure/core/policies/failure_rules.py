"""Rules that say what kind of failure an exception is: data, compared with what the exception says of itself.

A rule names nothing that is looked up or imported: class names are compared as texts along the MRO.
"""

from __future__ import annotations

import errno as errnos
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

import msgspec

from perdure.errors import OptionError

if TYPE_CHECKING:
    from perdure.core.policies.exception_facts import Facts


Kind = Literal["transient", "permanent", "throttled"]
"""`transient`: it may be gone at the next try. `permanent`: it stays. `throttled`: it passes when the caller waits."""

Confidence = Literal["certain", "likely", "possible"]
"""`certain`: by class, status, errno or attribute; `likely`: by the message; `possible`: neither.

Also what holds only if nothing else is known."""

CODES = (
    "silent-failure",
    "phantom-retry",
    "cascading-timeout",
    "state-drift",
    "context-saturation",
    "tool-loop",
    "rate-limit-spiral",
    "incomplete-cleanup",
    "crash-loop",
    "poison-item",
    "credential-expired",
    "schema-change",
    "disk-full",
    "clock-jump",
    "code-drift",
    "lock-contention",
    "stuck-wait",
    "over-budget",
    "oversized-payload",
    "out-of-memory",
)
"""The entries of the failure catalogue."""

KEYS = ("code", "kind", "class", "status", "errno", "attr", "message", "delay", "fallback")

_SHOWN = 100
"""Characters of a value that are shown."""

_REMEMBERED = 1_000
"""Classes of exceptions whose rules are remembered."""


class Rule(msgspec.Struct, frozen=True):
    """What an exception has to be, all of it, and what it is then.

    Attributes:
        source: whose it is.
        kind: whether trying again helps.
        code: the entry of the catalogue; None: no entry.
        classes: patterns of class names; `=` in front: of its own class, not of those that it derives from.
        status: from and to, of HTTP statuses.
        errno: numbers.
        attr: paths of attributes, and patterns of their values.
        message: a regular expression.
        delay: the server has named a delay.
        fallback: only if nothing else is known, also not of its cause.
    """

    source: str
    kind: Kind
    code: str | None
    classes: tuple[tuple[bool, re.Pattern[str]], ...] = ()
    status: tuple[tuple[int, int], ...] = ()
    errno: tuple[int, ...] = ()
    attr: tuple[tuple[str, re.Pattern[str]], ...] = ()
    message: re.Pattern[str] | None = None
    delay: bool = False
    fallback: bool = False

    @property
    def confidence(self) -> Confidence:
        """How sure it is."""
        if self.fallback:
            return "possible"
        return "certain" if self.message is None else "likely"

    def text(self, facts: Facts) -> str:
        """Why an exception matches, for people."""
        parts = [name for name in facts.names if any(pattern.match(name) for _, pattern in self.classes)][:1]
        if self.status:
            parts.append(f"status {facts.status}")
        if self.errno:
            parts.append(f"errno {', '.join(facts.values('errno'))}")
        for path, pattern in self.attr:
            value = next((value for value in facts.values(path) if pattern.match(value)), "")
            parts.append(f"{path.partition('|')[0]} {value[:_SHOWN]}")
        if self.delay:
            parts.append("the delay that the server has named")
        if self.message is not None:
            found = self.message.search(facts.text)
            parts.append(f"message {found[0][:_SHOWN]!r}" if found else "message")
        return f"{self.source}: {', '.join(parts)}"

    def fits_class(self, names: Sequence[str]) -> bool:
        """Can an exception with these names along its MRO match?"""
        if not self.classes:
            return True
        return any(
            pattern.match(name) is not None for own, pattern in self.classes for name in (names[:1] if own else names)
        )

    def matches(self, facts: Facts) -> bool:
        """Does the exception match, whose class does?"""
        if self.delay and facts.delay is None:
            return False
        status = facts.status
        if self.status and (status is None or not any(low <= status <= high for low, high in self.status)):
            return False
        if self.errno and not any(str(number) in facts.values("errno") for number in self.errno):
            return False
        for path, pattern in self.attr:
            if not any(pattern.match(value) for value in facts.values(path)):
                return False
        return self.message is None or self.message.search(facts.text) is not None


class Rules:
    """Rules in the order in which they are tried.

    Args:
        others: of the user and of plugins, which come first.
        own: of perdure.
    """

    def __init__(self, others: Iterable[Rule] = (), own: Iterable[Rule] = ()) -> None:
        first = list(others)
        by_message: list[Rule] = []
        last: list[Rule] = []
        for rule in own:
            alone = rule.message is not None and not (rule.classes or rule.status or rule.errno or rule.attr)
            (last if rule.fallback else by_message if alone else first).append(rule)
        self._stages = (first, by_message, last)
        self._of_class: dict[tuple[str, ...], tuple[list[Rule], ...]] = {}

    def find(self, facts: Facts, stage: int) -> Rule | None:
        """The first rule that an exception matches.

        Args:
            facts: about the exception.
            stage: 0: by what it is; 1: by its message alone; 2: what holds if nothing else is known.
        """
        remembered = self._of_class.get(facts.names)
        if remembered is None:
            if len(self._of_class) >= _REMEMBERED:
                self._of_class.clear()
            remembered = tuple([rule for rule in rules if rule.fits_class(facts.names)] for rules in self._stages)
            self._of_class[facts.names] = remembered
        return next((rule for rule in remembered[stage] if rule.matches(facts)), None)


NO_RULES = Rules()


# -- from tables ------------------------------------------------------------------------------------------------------


def parse(tables: object, source: str, *, portable: bool = False) -> tuple[Rule, ...]:
    """Rules, of what a TOML file says.

    Args:
        tables: the value of `failures` or `rule`: a list of tables.
        source: what to call the file in messages and in the text of the rules.
        portable: an errno that this system does not have is passed over.

    Raises:
        OptionError: a rule is not valid; the message names it, and what was probably meant.
    """
    if not isinstance(tables, list):
        raise OptionError(f"the failure rules in {source} are not a list of tables", "write [[tool.perdure.failures]]")
    return tuple(_rule(table, f"rule {number} in {source}", portable) for number, table in enumerate(tables, 1))


def _rule(table: object, where: str, portable: bool) -> Rule:
    if not isinstance(table, Mapping):
        raise OptionError(f"{where} is not a table", "write [[tool.perdure.failures]] above it")
    for key in table:
        if key not in KEYS:
            raise OptionError(f"{where} has an unknown key {key!r}", _near(key, KEYS))
    kind, code = table.get("kind"), table.get("code")
    if not _is_kind(kind):
        raise OptionError(f"{where}: kind is {kind!r}", _near(kind, get_args(Kind)))
    if code is not None and code not in CODES:
        raise OptionError(f"{where}: code {code!r} is no entry of the catalogue", _near(code, CODES))
    classes = tuple(_class(each, where) for each in _texts(table, "class", where))
    status = tuple(_status(each, where) for each in _list(table, "status", where))
    numbers = tuple(n for each in _list(table, "errno", where) if (n := _errno(each, where, portable)) is not None)
    attributes = table.get("attr", {})
    if not isinstance(attributes, Mapping) or not all(map(_is_value, attributes.values())):
        raise OptionError(f"{where}: attr is {attributes!r}", 'give a table, such as attr = { sqlstate = "28*" }')
    attr = tuple((str(path), _any_of(value)) for path, value in attributes.items())
    message = table.get("message")
    pattern = None if message is None else _regex(message, where)
    delay, fallback = (_flag(table, key, where) for key in ("delay", "fallback"))
    if not (classes or status or "errno" in table or attr or pattern or delay):
        raise OptionError(f"{where} compares nothing", "give one of: class, status, errno, attr, message")
    if "errno" in table and not numbers:
        numbers = (-1,)  # no system error of this system
    source = where.partition(" in ")[2]
    return Rule(source, kind, code, classes, status, numbers, attr, pattern, delay, fallback)


def _is_kind(value: object) -> TypeGuard[Kind]:
    return value in get_args(Kind)


def _is_value(value: object) -> bool:
    several = value if isinstance(value, list) else [value]
    return bool(several) and all(isinstance(each, str | int) for each in several)


def _any_of(value: Any) -> re.Pattern[str]:
    return re.compile("|".join(translate(str(each)) for each in (value if isinstance(value, list) else [value])))


def _list(table: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = table.get(key, [])
    if isinstance(value, list):
        return value
    if isinstance(value, str | int) and not isinstance(value, bool):
        return [value]
    raise OptionError(f"{where}: {key} is {value!r}", f"give a list, such as {key} = [...]")


def _texts(table: Mapping[str, Any], key: str, where: str) -> list[str]:
    given = _list(table, key, where)
    if all(isinstance(each, str) and each for each in given):
        return given
    raise OptionError(f"{where}: {key} is {given!r}", 'give class names, such as class = ["package.module.Error"]')


def _class(name: str, where: str) -> tuple[bool, re.Pattern[str]]:
    bare = name.removeprefix("=")
    if not re.fullmatch(r"[\w.*<>]+", bare):
        raise OptionError(f"{where}: {name!r} is no class name", 'give a dotted name, such as "package.module.Error"')
    return name.startswith("="), re.compile(translate(bare))


def _status(value: object, where: str) -> tuple[int, int]:
    text = str(value)
    if re.fullmatch(r"[3-5]([0-9]{2}|xx)", text):
        return int(text.replace("x", "0")), int(text.replace("x", "9"))
    raise OptionError(f"{where}: status is {value!r}", 'give HTTP statuses from 300 to 599, or "4xx"')


def _errno(value: object, where: str, portable: bool) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    number = getattr(errnos, str(value), None) if str(value).isupper() else None
    if not isinstance(number, int) and not portable:
        raise OptionError(f"{where}: errno {value!r} does not exist", _near(value, tuple(errnos.errorcode.values())))
    return number


def _regex(message: object, where: str) -> re.Pattern[str]:
    try:
        return re.compile(message, re.IGNORECASE)  # type: ignore[call-overload, no-any-return]
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise OptionError(
            f"{where}: message {message!r} is no regular expression: {error}", "give one that Python's re.compile takes"
        ) from None


def _flag(table: Mapping[str, Any], key: str, where: str) -> bool:
    value = table.get(key, False)
    if isinstance(value, bool):
        return value
    raise OptionError(f"{where}: {key} is {value!r}", "give true or false")


def _near(given: object, known: Sequence[str]) -> str:
    import difflib  # not before something is wrong

    meant = difflib.get_close_matches(str(given), known, 1)
    if meant:
        return f"write {meant[0]!r}"
    return f"use one of: {', '.join(known)}" if len(known) < 30 else "see the names in Python's errno module"
