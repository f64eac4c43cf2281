"""While modules are loaded no garbage is looked for, and afterwards a program's collector is as it was."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from conftest import replace
from perdure.core.loading import Loading

COLLECTOR = {
    "it rests, and is on again": """
for error in (None, ImportError):
    try:
        with Loading("not.loaded"):
            assert not gc.isenabled()
            if error is not None:
                raise error
    except ImportError:
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0  # also of what Python itself puts away at its start (3.12)
""",
    "what a program has said of it stays": """
gc.disable()
with Loading("not.loaded"):
    pass
assert not gc.isenabled()
gc.enable()
gc.freeze()
put_away = gc.get_freeze_count()
with Loading("not.loaded"):
    pass
assert gc.get_freeze_count() == put_away > 0
""",
    "what Python itself has put away is not the program's": """
put_away = []
gc.get_freeze_count, gc.freeze = (lambda: 375), (lambda: put_away.append("all"))
with Loading("not.loaded"):
    pass
assert put_away
""",
    "garbage of before is still found": """
class Node:
    gone = False
    def __del__(self):
        Node.gone = True

with Loading("not.loaded"):
    node = Node()
    node.itself = node
    del node
assert not Node.gone
gc.collect()
assert Node.gone
""",
}
"""Programs of their own: they look through all that a process has."""


@pytest.mark.parametrize("program", COLLECTOR.values(), ids=COLLECTOR)
def test_the_collector_rests_while_modules_are_loaded(program: str) -> None:
    """It is on again, also if one cannot be loaded; one that is off stays off, and what was put away stays so.

    What was loaded is not put away for good: a cycle that nothing refers to when modules are loaded goes with the next
    look through all.
    """
    given = "import gc\nfrom perdure.core.loading import Loading\nassert gc.isenabled()\n"
    subprocess.run([sys.executable, "-c", given + program], check=True)


def test_what_is_loaded_already_costs_no_count_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run asks for its engine: a program that has put away a million objects does not wait for their count."""
    replace(monkeypatch, gc, "get_freeze_count", lambda: pytest.fail("it counts what a program has put away"))
    with Loading("gc"):
        assert gc.isenabled()


def test_what_msgspec_does_without_is_loaded_when_it_is_asked_for() -> None:
    """A program finds the modules that were left out as if they had been loaded: by import, and by attribute."""
    program = """
import sys
from perdure import step
import msgspec
absent = [name for name in ("platform", "textwrap", "msgspec.inspect", "typing_extensions") if name in sys.modules]
assert not absent, absent
class Order(msgspec.Struct):
    "An order."
    number: int
assert msgspec.json.schema(Order)["$defs"]["Order"]["description"] == "An order."
assert msgspec.inspect.type_info(Order).fields[0].name == "number"
assert "type_info" in dir(msgspec.inspect)
import platform, textwrap, uuid, msgspec.inspect as inspect
assert platform.system() and textwrap.dedent(" a") == "a" and uuid.uuid1() and msgspec.inspect is inspect
"""
    subprocess.run([sys.executable, "-c", program], check=True)
