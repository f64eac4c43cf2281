"""The rules by which failures are classified: of the user, of plug-ins, and perdure's own, read at first use."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any

from perdure.config import settings
from perdure.config.project_file import toml_in
from perdure.core.policies.classify import Assessment, assess
from perdure.core.policies.failure_rules import Rule, Rules, parse
from perdure.errors import OptionError

GROUP = "perdure.failures"
"""The entry point group of plug-ins. The value is the path of a TOML file in the package; nothing of it is imported."""

LONGEST = 1 << 20
"""Bytes of a file of rules."""

FILE = Path(__file__).with_name("rules.toml")


@cache
def rules_for(script: str) -> Rules:
    """The rules that hold for a script: `[[tool.perdure.failures]]` of its project, plug-ins, perdure's own.

    Args:
        script: the path of the source file.
    """
    return Rules((*settings.failures(script), *plugin_rules()), own_rules())


def assess_for(script: str, error: BaseException) -> Assessment:
    """What is known about an exception, by the rules that hold for a script."""
    return assess(error, time.time(), rules_for(script))


@cache
def own_rules() -> tuple[Rule, ...]:
    """Perdure's own rules."""
    return parse(toml_in(FILE.read_text(encoding="utf-8"), "rules.toml")["rule"], "perdure", portable=True)


@cache
def plugin_rules() -> tuple[Rule, ...]:
    """The rules of installed packages; of one whose file is not valid there are none, and a line says why."""
    from importlib.metadata import entry_points

    found: list[Rule] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found += _of_plugin(point)
        except OptionError as error:
            import logging

            logging.getLogger("perdure").warning("the failure rules of %s are ignored: %s", point.name, error)
    return tuple(found)


def _of_plugin(point: Any) -> tuple[Rule, ...]:
    source = f"plug-in {point.name}"
    if point.dist is None:
        raise OptionError(f"{source} belongs to no package", "pip install the package that it is of")
    path = Path(str(point.dist.locate_file(point.value)))
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} cannot be read: {error}", "give the path of a TOML file of the package") from None
    return parse(toml_in(text, str(path)).get("rule", []), source, portable=True)
