"""Rules of the user: `[[tool.perdure.failures]]` comes first, and a mistake in it says what was meant."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys

import pytest

from conftest import replace
from perdure.catalogue import rules as catalogue
from perdure.catalogue.rules import assess_for
from perdure.config import settings
from perdure.core.policies.classify import assess
from perdure.core.policies.failure_rules import Rules, parse
from perdure.errors import OptionError


def project(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / "job.py").touch()
    return str(tmp_path / "job.py")


def test_rules_of_the_project_come_first(tmp_path):
    """Also before what perdure knows of a status."""
    script = project(
        tmp_path,
        '[[tool.perdure.failures]]\ncode = "over-budget"\nkind = "permanent"\nclass = ["builtins.*", "TimeoutError"]\n',
    )
    seen = assess_for(script, TimeoutError())
    assert (seen.kind, seen.code) == ("permanent", "over-budget")
    assert "pyproject.toml" in seen.rule
    assert assess_for("", TimeoutError()).code == "cascading-timeout"


@pytest.mark.parametrize(
    ("rule", "what", "meant"),
    [
        ('kind = "permanant"\nstatus = [400]', "kind is 'permanant'", "permanent"),
        ('kind = "permanent"\nstaus = [400]', "unknown key 'staus'", "status"),
        ('kind = "permanent"\ncode = "disk-fool"\nstatus = [400]', "no entry", "disk-full"),
        ('kind = "permanent"\nstatus = [99]', "status is 99", "4xx"),
        ('kind = "permanent"\nerrno = ["ENOSPCE"]', "errno 'ENOSPCE' does not exist", "ENOSPC"),
        ('kind = "permanent"\nmessage = "("', "no regular expression", "re.compile"),
        ('kind = "permanent"\nclass = ["os; rm"]', "no class name", "dotted name"),
        ('kind = "permanent"', "compares nothing", "class"),
        ('kind = "permanent"\nattr = 7', "attr is 7", "table"),
        ('kind = "permanent"\nstatus = [400]\ndelay = "yes"', "delay is 'yes'", "true or false"),
    ],
)
def test_a_mistake_in_a_rule_is_named_with_what_was_meant(tmp_path, rule, what, meant):
    """At the first look at the settings, not at the first failure of a night."""
    script = project(tmp_path, f"[[tool.perdure.failures]]\n{rule}\n")
    with pytest.raises(OptionError) as refused:
        settings.step_timeout(script)
    assert what in refused.value.what
    assert "rule 1 in" in refused.value.what
    assert meant in refused.value.hint


def test_a_class_of_a_rule_is_compared_and_never_imported(tmp_path):
    """`class = ["os.system"]` executes nothing, and a module that it names is not loaded."""
    (tmp_path / "trap.py").write_text("open('sprung', 'w').close()\n")
    script = project(
        tmp_path,
        '[[tool.perdure.failures]]\nkind = "permanent"\nclass = ["trap.Error", "os.system"]\n'
        'attr = { "__class__.__init__.__globals__" = "x" }\n',
    )
    program = (
        "import sys, perdure.catalogue.rules as rules;"
        f"print(rules.assess_for({script!r}, RuntimeError()).kind, 'trap' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["transient", "False"]
    assert not (tmp_path / "sprung").exists()


def test_a_plug_in_gives_the_path_of_a_file(tmp_path, monkeypatch, caplog):
    """What its entry point names is read, not imported; one that is not valid is left out, with a line."""

    class Dist:
        def locate_file(self, path):
            return tmp_path / path

    class Point:
        dist = Dist()

        def __init__(self, name):
            self.name, self.value = name, f"{name}.toml"

        def load(self):
            raise AssertionError("it is imported")

    (tmp_path / "good.toml").write_text('[[rule]]\nkind = "throttled"\nclass = ["good.Busy"]\n')
    (tmp_path / "bad.toml").write_text('[[rule]]\nkind = "trottled"\nclass = ["good.Busy"]\n')
    points = [Point("good"), Point("bad"), Point("gone")]
    replace(monkeypatch, importlib.metadata, "entry_points", lambda group: points)
    found = catalogue.plugin_rules.__wrapped__()
    busy = type("Busy", (Exception,), {"__module__": "good"})()
    assert assess(busy, 0.0, Rules(found)).kind == "throttled"
    assert "rules of bad are ignored" in caplog.text
    assert "rules of gone are ignored" in caplog.text


def test_all_that_a_rule_gives_must_match():
    """A status alone is not enough for a rule that has an attribute as well."""
    rules = Rules(parse([{"kind": "permanent", "status": 400, "attr": {"code": ["a*", "b"]}}], "x"))

    def seen(**attributes):
        exc = Exception("x")
        exc.__dict__.update(attributes)
        return assess(exc, 0.0, rules).kind

    assert seen(status_code=400, code="abc") == "permanent"
    assert seen(status_code=400, code="c") == "transient"
    assert seen(status_code=404, code="b") == "transient"
