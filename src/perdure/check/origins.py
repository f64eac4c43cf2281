"""What is another the next time: the clock, chance, the process, the environment, the order of a set."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from perdure.check.project import Module

Label = Literal["clock", "day", "chance", "process", "environment", "set", "order"]
"""`day`: a clock of which no more than the date is left. `set`: a set; `order`: a list in the order of one."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something that differs comes from."""

    label: Label
    line: int
    text: str


Taint = frozenset[Origin]
EMPTY: Taint = frozenset()


@dataclass(slots=True)
class Control:
    """A condition, or what is iterated, that the steps behind it depend on; `kind` says how it is reported, or ends."""

    node: ast.AST
    module: Module
    taint: Taint
    kind: str


SETS = frozenset({"builtins.set", "builtins.frozenset", "typing.Set", "typing.FrozenSet", "collections.abc.Set"})

CALLED: dict[str, Label] = {
    **dict.fromkeys(
        (
            "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
            "time.perf_counter_ns",
            "time.process_time", "time.localtime", "time.gmtime", "time.ctime", "time.strftime", "time.asctime",
            "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "pendulum.now",
            "arrow.now", "arrow.utcnow", "pandas.Timestamp.now", "pandas.Timestamp.utcnow", "pandas.Timestamp.today",
            "django.utils.timezone.now", "whenever.Instant.now",
        ),
        "clock",
    ),
    **dict.fromkeys(("datetime.date.today", "pendulum.today", "datetime.datetime.now().date"), "day"),
    **dict.fromkeys(
        ("uuid.uuid1", "uuid.uuid4", "os.urandom", "random.SystemRandom", "numpy.random.default_rng", "builtins.id",
         "builtins.hash", "ulid.new", "ulid.ULID", "shortuuid.uuid", "nanoid.generate"),
        "chance",
    ),
    **dict.fromkeys(
        ("os.getpid", "os.getppid", "threading.get_ident", "threading.get_native_id", "socket.gethostname",
         "platform.node", "os.uname", "socket.getfqdn", "tempfile.mkdtemp", "tempfile.mkstemp", "tempfile.gettempdir",
         "tempfile.TemporaryDirectory", "tempfile.NamedTemporaryFile", "tempfile.mktemp",
         # What is raised again on resume has other frames.
         "traceback.format_exc", "traceback.format_exception", "traceback.format_tb", "traceback.format_stack"),
        "process",
    ),
    **dict.fromkeys(("os.getenv", "os.environ.get", "os.environ.copy", "os.environ.items"), "environment"),
}  # fmt: skip
"""Functions of libraries; those whose result depends on an argument stand in `called`."""

CHANCE_MODULES = ("random.", "secrets.", "numpy.random.")

READ: dict[str, Label] = {"os.environ": "environment", "sys.argv": "environment"}

DAY_PARTS = frozenset({"year", "month", "day"})
DAY_METHODS = frozenset({"date", "weekday", "isoweekday", "isocalendar", "toordinal"})
ADDING = frozenset({"append", "add", "extend", "insert", "update", "setdefault", "appendleft"})
COUNTED = frozenset({"len", "sum", "min", "max", "any", "all", "bool", "isinstance", "sorted", "type", "print"})
LISTED = frozenset({"list", "tuple", "enumerate", "iter", "map", "filter", "zip", "reversed", "next", "dict"})
SHOWN = frozenset({"str", "repr", "ascii", "format"})
NO_SEED = frozenset({"seed", "Random", "default_rng", "RandomState", "getstate", "setstate"})


def called(name: str, node: ast.Call, given: Taint) -> Taint | None:
    """What a call of a library's function gives; None if it is not known here."""
    label = CALLED.get(name)
    if label is not None:
        if name in ("time.localtime", "time.gmtime", "time.ctime") and node.args:
            return given
        if name == "time.strftime":
            if len(node.args) > 1:
                return given
            label = "day" if only_date(node.args[0] if node.args else None) else "clock"
        if name == "numpy.random.default_rng" and node.args:
            return given
        return frozenset({Origin(label, node.lineno, f"{_short(name)}()")})
    if name.startswith(CHANCE_MODULES):
        if "(" in name:  # a generator of its own: what it gives is as certain as its seed
            return None
        if name.rpartition(".")[2] in NO_SEED and (node.args or node.keywords):
            return given
        return given | {Origin("chance", node.lineno, f"{_short(name)}()")}
    if name.startswith("builtins."):
        short = name[9:]
        if short in ("set", "frozenset"):
            if node.args and isinstance(node.args[0], ast.Call) and getattr(node.args[0].func, "id", "") == "range":
                return EMPTY
            return plain(given) | {Origin("set", node.lineno, f"{short}()")}
        if short in COUNTED:
            return plain(given)
        if short in LISTED or short in SHOWN:
            return listed(given)
    return None


def _short(name: str) -> str:
    return name.removeprefix("datetime.").removeprefix("builtins.")


def plain(taint: Taint) -> Taint:
    """Without the order of sets."""
    return frozenset(one for one in taint if one.label not in ("set", "order"))


deciding = plain
"""What a condition or an input has that differs: that it is a set, or came from one, does not count by itself."""


def ordering(taint: Taint) -> Taint:
    """Only the order of sets."""
    return frozenset(one for one in taint if one.label in ("set", "order"))


def listed(taint: Taint) -> Taint:
    """After a list was made of it: what was a set is a list in the order of one."""
    return frozenset(Origin("order", one.line, one.text) if one.label == "set" else one for one in taint)


def coarse(taint: Taint) -> Taint:
    """After no more than the date was taken of it."""
    return frozenset(Origin("day", one.line, one.text) if one.label == "clock" else one for one in taint)


def identifying(taint: Taint) -> Taint:
    """What makes each call of a workflow a run of its own."""
    return frozenset(one for one in taint if one.label in ("clock", "chance", "process"))


def counting(taint: Taint, node: ast.expr) -> Taint:
    """What decides how often a loop is gone through, of what it iterates over."""
    is_range = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"
    return plain(taint) if is_range else EMPTY


def formatted(taint: Taint, node: ast.Call) -> Taint:
    """After `strftime`, `replace(hour=0, minute=0)` or the like."""
    if not taint:
        return taint
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name == "strftime" and only_date(node.args[0] if node.args else None):
        return coarse(taint)
    if name == "replace" and {"hour", "minute"} <= {keyword.arg for keyword in node.keywords}:
        return coarse(taint)
    return taint


def only_date(node: ast.expr | None) -> bool:
    """Whether a format of a time shows no more than the date."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    return not any(f"%{letter}" in node.value.replace("-", "") for letter in "HIMSfspcXTrR")


def of_numbers(annotation: ast.expr | None) -> bool:
    """Whether a set is declared to hold numbers, which lie in the same order in each process."""
    if not isinstance(annotation, ast.Subscript) or not isinstance(annotation.slice, ast.Name):
        return False
    return annotation.slice.id in ("int", "float", "bool")


def texts(taint: Iterable[Origin]) -> str:
    """What it comes from, for a reader."""
    found = sorted({(one.line, one.text) for one in taint})
    line, text = found[0]
    return f"{text} (line {line})"
