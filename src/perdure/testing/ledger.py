"""Counts what is really called, as a service on the other side would."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perdure.errors import OptionError


class Ledger:
    """Wraps functions, and counts their calls by name and arguments; also those of a run that was killed.

        ledger.wrap("shop.payments.charge")
        ...
        ledger.once()

    `returned` is called each time that a wrapped function has returned.
    """

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._undo: list[Callable[[], None]] = []
        self.returned: Callable[[], None] = lambda: None
        self._shared: Path | None = None

    def wrap(self, name: str) -> None:
        """Count the calls of a function, until the ledger is closed.

        Args:
            name: its dotted name, as "module.function" or "module.Class.method". Code that has imported the function by
                `from module import function` calls what it has: name the module that calls it then.

        Raises:
            OptionError: there is no such function.
        """
        owner, attribute = _find(name)
        inherited = attribute not in vars(owner)
        real = inspect.getattr_static(owner, attribute)
        function = real.__func__ if isinstance(real, staticmethod | classmethod) else real
        counted = self._counting(name, function)
        setattr(owner, attribute, type(real)(counted) if isinstance(real, staticmethod | classmethod) else counted)
        self._undo.append(
            (lambda: delattr(owner, attribute)) if inherited else (lambda: setattr(owner, attribute, real))
        )

    def count(self, name: str, *args: object, **kwargs: object) -> None:
        """Count a call by hand, for what cannot be wrapped."""
        given = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
        call = f"{name}({', '.join(given)})"
        self._calls[call] += 1
        if self._shared is not None:
            with self._shared.open("a", encoding="utf-8") as file:  # a write of a line is whole: others see it or not
                file.write(f"{call!r}\n")

    def counts(self) -> dict[str, int]:
        """How often each call was made, by its text, such as "charge('o-1', amount=5)"."""
        if self._shared is not None:
            lines = self._shared.read_text(encoding="utf-8").splitlines() if self._shared.exists() else []
            return dict(Counter(str(ast.literal_eval(line)) for line in lines))
        return dict(self._calls)

    @contextmanager
    def shared(self, file: Path) -> Iterator[None]:
        """Count in a file meanwhile, so that processes that are killed count too."""
        self._shared = file
        try:
            yield
        finally:
            self._shared = None

    def once(self) -> None:
        """Raises AssertionError if a call was made more than once, or if there was none at all."""
        counts = self.counts()
        again = {call: times for call, times in counts.items() if times > 1}
        assert not again, f"called more than once: {again}"
        assert counts, "nothing was called"

    def clear(self) -> None:
        """Forget what was counted; what is wrapped stays wrapped."""
        self._calls.clear()

    def close(self) -> None:
        """Put the functions back."""
        while self._undo:
            self._undo.pop()()

    def _counting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        short = name.rpartition(".")[2]
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def acounted(*args: Any, **kwargs: Any) -> Any:
                self.count(short, *args, **kwargs)
                result = await function(*args, **kwargs)
                self.returned()
                return result

            return acounted

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count(short, *args, **kwargs)
            result = function(*args, **kwargs)
            self.returned()
            return result

        return counted


def _find(name: str) -> tuple[Any, str]:
    parts = name.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:-1]:
            owner = getattr(owner, part, None)
        if callable(getattr(owner, parts[-1], None)):
            return owner, parts[-1]
        break
    raise OptionError(f"there is no function {name}", "give its module and name, such as 'shop.payments.charge'")
