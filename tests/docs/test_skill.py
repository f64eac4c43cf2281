"""What the agent skill says is true: its form, its commands, its names and options, its example."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, is_typeddict

import pytest
import yaml
from test_docs import environment

import perdure
import perdure.failures
import warm
from perdure.api.step import StepOptions
from perdure.api.workflow import WorkflowOptions
from perdure.check.catalogue import RULES
from perdure.check.checker import check
from perdure.cli.app import FUNCTIONS, GROUPS, app
from perdure.skill import NAME, files

TEXTS = {name: text.decode() for name, text in files().items() if name.endswith(".md")}
SKILL = TEXTS["SKILL.md"]
_, FRONT, BODY = SKILL.split("---\n", 2)
SPANS = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
SOURCE = Path(perdure.__file__).parent


def spans(text: str) -> Iterator[str]:
    """What stands in blocks of code and between backticks."""
    yield from (block or inline for block, inline in SPANS.findall(text))


def test_the_front_matter_is_valid() -> None:
    """As the specification of agent skills has it: which fields there are, their form and length."""
    front = yaml.safe_load(FRONT)
    assert set(front) == {"name", "description", "license", "compatibility", "metadata"}
    assert front["name"] == NAME
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", NAME)
    assert len(NAME) <= 64
    assert 0 < len(front["description"]) <= 1024
    assert 0 < len(front["compatibility"]) <= 500
    assert front["license"] == "MIT"
    assert all(isinstance(part, str) for pair in front["metadata"].items() for part in pair)


def test_the_body_is_short() -> None:
    """It is read whole each time: at most 150 lines, and about 2,500 tokens of 4 characters."""
    assert len(BODY.splitlines()) <= 150
    assert len(BODY) <= 10_000


COMMAND = re.compile(r"(?:^|[\s;&(`])perdure ((?:[^`\n|;&)#]|\\\n)+)")


def commands() -> list[str]:
    """What stands behind `perdure` in code."""
    found = {match.strip() for text in TEXTS.values() for span in spans(text) for match in COMMAND.findall(f"\n{span}")}
    return sorted(one for one in found if one.split()[0] not in ("import", "does"))  # import perdure; perdure does not


def unknown_in(command: str) -> list[str]:
    """The words of a command line that name no command, and the options that it does not have."""
    words = re.sub(r"\\%|\\\n|'[^']*'|\"[^\"]*\"|\S*>\S*", " ", command).split()
    if words[0] in FUNCTIONS:
        options = (SOURCE / "cli" / "commands" / f"{words[0]}.py").read_text()
        parsed = app[words[0]]
    elif words[0] in GROUPS:
        group = app[words[0]]
        if len(words) == 1:
            return []
        if words[1] not in list(group):
            return words[:2]
        parsed = group[words[1]]
        options = ""
    else:
        return words[:1]
    options += " ".join(name for argument in parsed.assemble_argument_collection() for name in argument.names)
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]


def test_every_command_exists() -> None:
    """With the options that are named."""
    assert len(commands()) > 20
    assert {one: unknown for one in commands() if (unknown := unknown_in(one))} == {}
    assert [unknown_in(one) for one in ("mend RUN", "dlq mend 1", "resume --everything")] == [
        ["mend"],
        ["dlq", "mend"],
        ["--everything"],
    ], "the check can fail"


OWNERS: dict[str, Any] = {
    "step": StepOptions,
    "workflow": WorkflowOptions,
    "Retry": perdure.Retry,
    "retry": perdure.Retry,
    "Breaker": perdure.Breaker,
    "Rate": perdure.Rate,
    "map": perdure.Step.map,
    "sh": perdure.sh,
    "lock": perdure.lock,
    "budget": perdure.budget,
    "spend": perdure.spend,
    "artifact": perdure.artifact,
    "alert": perdure.alert,
    "with_options": perdure.Workflow.with_options,
}
"""What has the options that are looked at where the skill names them."""


def options_of(owner: Any) -> set[str]:
    """The options of decorators, the parameters of functions."""
    return (
        set(owner.__annotations__) | {"on_failure"} if is_typeddict(owner) else set(inspect.signature(owner).parameters)
    )


def unknown_names(code: str) -> list[str]:
    """The names of perdure, and the options, that code uses and that there are not; nothing if it is not Python."""
    decorated = re.sub(r"^(\s*@[^\n]*)\Z", r"\1\ndef f(): ...", code)
    for candidate in (code, decorated, f"{code} ...", f"{code.rstrip(':')}"):
        try:
            tree = ast.parse(candidate)
            break
        except SyntaxError:
            continue
    else:
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "perdure":
            there = hasattr(perdure, node.attr) or find_spec(f"perdure.{node.attr}")
            found += [] if there else [f"perdure.{node.attr}"]
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if owner := OWNERS.get(name):
                found += [f"{name}({one.arg}=)" for one in node.keywords if one.arg not in options_of(owner)]
    return found


def test_every_name_and_option_exists() -> None:
    """`perdure.x`, and the options of steps, workflows, retries and the like."""
    unknown = {
        f"{name}: {span[:60]}": missing
        for name, text in TEXTS.items()
        for span in spans(text)
        if (missing := unknown_names(span))
    }
    assert unknown == {}
    seen = unknown_names("@step(ensures=f)") + unknown_names("perdure.wait_until()") + unknown_names("x.map(a, keys=1)")
    assert seen == ["step(ensures=)", "perdure.wait_until", "map(keys=)"], "the check can fail"


def test_every_variable_of_the_environment_is_read() -> None:
    """A name that perdure does not read would be set in vain."""
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py"))
    named = {name for text in TEXTS.values() for name in re.findall(r"\b(?:PERDURE|ALERT|WORKFLOW)_[A-Z_]+\b", text)}
    assert len(named) > 4
    assert {name for name in named if name not in source} == set()


def test_every_rule_on_the_checklist_exists() -> None:
    """Its last column names rules of `perdure check`."""
    table = re.findall(r"^\|.*\| ([^|]*) \|$", TEXTS["references/patterns.md"], flags=re.MULTILINE)
    codes = {code for cell in table for code in re.findall(r"`([a-z]+-[a-z-]+)`", cell)}
    assert len(codes) > 10
    assert codes <= set(RULES)


PRELUDE = """import os
import sys
from dataclasses import dataclass

import httpx

import perdure
from perdure import Retry, step, workflow

API = os.environ["API"]


@dataclass(frozen=True)
class Invoice:
    id: str
    amount: int


class Declined(Exception):
    pass


@step
def fetch_invoices(day: str) -> list[Invoice]:
    return [Invoice(f"{day}-{n}", n) for n in range(4)]


@step
def post_summary(day: str, charged: int, failed: list[str]) -> None:
    print(day, charged)


"""


class Payments(BaseHTTPRequestHandler):
    """Declines the invoice of amount 2, with status 200."""

    keys: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.keys.append(self.headers["Idempotency-Key"])
        answer = {"status": "declined"} if body["amount"] == 2 else {"status": "ok", "charge": f"c-{body['invoice']}"}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def payments() -> Iterator[tuple[str, list[str]]]:
    """The address of a service, and the keys that it has got."""
    keys: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Service", (Payments,), {"keys": keys})) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example of the skill, as a script."""
    (body,) = re.findall(r"## Example\n\n```python\n(.*?)```", BODY, flags=re.DOTALL)
    script = tmp_path / "billing.py"
    script.write_text(f'{PRELUDE}{body}\n\nif __name__ == "__main__":\n    print(nightly(sys.argv[1]))\n')
    return script


def test_the_example_runs(example: Path) -> None:
    """One charge an invoice, each with a key of its own; what is declined is tried once and named."""
    with payments() as (address, keys):
        done = warm.run(
            [sys.executable, example.name, "2026-11-23"],
            cwd=example.parent,
            env=environment() | {"API": address, "PERDURE_ALERTS": "", "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2026-11-23 3\n3 charged, not charged: ['Declined: 2026-11-23-2: declined']\n"
    assert len(keys) == len(set(keys)) == 4


def test_the_example_breaks_no_rule(example: Path) -> None:
    """`perdure check` finds nothing in it."""
    assert check([example]).findings == []
