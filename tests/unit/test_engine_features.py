"""What an engine lacks is refused with a reason and an alternative, and nothing asks for an engine by its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import perdure
from perdure.engines.features import LOCAL, TEMPORAL, Capabilities, Feature
from perdure.engines.local.engine import LocalEngine
from perdure.engines.selection import capabilities_at
from perdure.errors import OptionError, UsageError
from syntax import nodes

ASKED = {
    "asked": "perdure queue",
    "command": "check",
    "if_locked": "wait",
    "lock": "shared",
    "option": "breaker 'bank'",
    "owner": "step charge",
    "park_after": 3,
    "run": "main-1",
    "typed": "main-1",
}
"""What callers name when they ask; a text may have no other placeholder."""

SOURCE = Path(perdure.__file__).parent
READ_ADDRESSES = {"config/settings.py", "engines/selection.py"}
"""The two files that know what an address means."""


@pytest.mark.parametrize("capabilities", [LOCAL, TEMPORAL], ids=["local", "temporal"])
@pytest.mark.parametrize("feature", Feature, ids=lambda feature: feature.name)
def test_a_missing_feature_says_why_and_what_to_do(capabilities: Capabilities, feature: Feature) -> None:
    """An engine that lacks a feature refuses it with a whole text and a hint; one that has it refuses nothing."""
    if capabilities.supports(feature):
        capabilities.require(feature, **ASKED)
        return
    with pytest.raises(UsageError) as caught:
        capabilities.require(feature, **ASKED)
    for text in (caught.value.what, caught.value.hint):
        assert text
        assert "{" not in text
        assert not text.endswith(".")


def test_every_feature_is_missing_somewhere() -> None:
    """A feature that every engine has is no feature that anything needs to ask for."""
    assert [feature for feature in Feature if LOCAL.supports(feature) and TEMPORAL.supports(feature)] == []


def test_what_is_known_without_the_engine_is_what_the_engine_says(tmp_path: Path) -> None:
    """The answer by the address, which loads nothing, is that of the engine itself."""
    engine = LocalEngine(tmp_path / "state.db")
    assert engine.capabilities is capabilities_at("local")
    engine.close()
    from perdure.engines.temporal.engine import engine_of

    url = "temporal://localhost:1/features"
    assert engine_of(url).capabilities is capabilities_at(url)


def test_an_address_of_no_engine_is_refused() -> None:
    """A misspelt address never stands for the engine of this machine, nor for a cluster."""
    with pytest.raises(OptionError, match="there is no engine 'Local'"):
        capabilities_at("Local")


def test_nothing_compares_addresses() -> None:
    """Only settings and selection look into an address; all others ask for a feature."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for node in nodes(path):
            if isinstance(node, ast.Compare) and name not in READ_ADDRESSES:
                sides = [node.left, *node.comparators]
                sides += [each for side in sides if isinstance(side, ast.Tuple) for each in side.elts]
                if any(
                    (isinstance(side, ast.Constant) and side.value == "local")
                    or (isinstance(side, ast.Name) and side.id == "LOCAL")
                    for side in sides
                ):
                    found.append(f"{name}:{node.lineno}")
    assert found == []
