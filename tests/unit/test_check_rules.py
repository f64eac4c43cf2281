"""`perdure check` finds what it is there for, and little else: a corpus of snippets, each with what is to be found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from check_snippets import Score, Snippet, snippets

from perdure.check.catalogue import RULES
from perdure.check.checker import check
from perdure.check.renamed import OF_AGENTS
from perdure.ext import agent_steps

FOLDER = Path(__file__).parents[1] / "check_corpus"
CORPUS = list(snippets(FOLDER))
HELD_OUT = list(snippets(FOLDER / "held_out"))
"""Whole scripts, written when the rules were done: docs/decisions/0029 says what was found before any change."""

ELSEWHERE = {"renamed", "bad-ignore"}
"""They need a state file, or comments: they have tests of their own."""


@pytest.fixture(scope="module", params=[CORPUS, HELD_OUT], ids=["corpus", "held-out"])
def score(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Score:
    result = Score()
    folder = tmp_path_factory.mktemp("check")
    for snippet in request.param:
        result.add(snippet, folder)
    return result


def test_few_findings_are_false(score: Score) -> None:
    """Of the errors that are reported at most 2 % are none, of errors and warnings together at most 4 %."""
    assert score.false_share("error") <= 0.02, score.misses
    assert score.false_share("error", "warning") <= 0.04, score.misses


def test_few_faults_are_missed(score: Score) -> None:
    """At least 95 % of the seeded errors are found, and 85 % of the warnings."""
    assert score.recall("error") >= 0.95, score.misses
    assert score.recall("warning") >= 0.85, score.misses


def test_every_rule_has_three_snippets_of_each_kind() -> None:
    """A rule without a fault that it finds, and without a near miss that it leaves alone, is not tested."""
    bad = Counter(code for snippet in CORPUS for code in {code for _, code in snippet.expected})
    good = Counter(code for snippet in CORPUS if snippet.what.startswith("good") for code in snippet.near)
    rules = {code for code, rule in RULES.items() if rule.severity != "hint"} - ELSEWHERE
    assert {code: (bad[code], good[code]) for code in rules if min(bad[code], good[code]) < 3} == {}
    assert all(bool(one.expected) == one.what.startswith("bad") for one in CORPUS)


def test_a_fault_that_is_not_found_and_a_finding_that_is_none_are_counted(tmp_path: Path) -> None:
    """The measure itself can fail."""
    text = "import requests\nfrom perdure import step\n\n@step\ndef f(u):{}\n    requests.get(u)\n"
    score = Score()
    score.add(Snippet("x", "bad: a mark at the wrong line", text.format("  # <- no-timeout")), tmp_path)
    assert (score.recall("error"), score.false_share("error")) == (0.0, 1.0)


HINTS = """
import time
import anthropic, requests
from perdure import step, workflow

client = anthropic.Anthropic(max_retries=0)

@step
def ask(messages: list) -> str:
    return client.messages.create(model="m", max_tokens=9, messages=messages).content[0].text  # slow-default

@step(timeout="9s")
def fetch(url: str) -> str:
    answer = requests.get(url)
    answer.raise_for_status()
    return answer.text

@workflow
def agent(urls: list[str]) -> None:  # no-alert
    messages = []
    while True:  # unbounded-loop
        answer = ask(messages)  # growing-input
        messages.append(answer)
        if answer == "stop":
            break
    for url in urls:  # item-by-item
        fetch(url)
    fetch.map(urls, concurrency=8).raise_if_dead()  # no-breaker
    time.sleep(60)  # sleep-in-workflow

@workflow(schedule="30 3 * * 1-5", alert="json://localhost")
def nightly() -> None:  # no-time-zone
    fetch("https://a.example")
"""

QUIET = """
import anthropic, requests
from perdure import step, workflow

client = anthropic.Anthropic(max_retries=0, timeout=60)

@step
def ask(messages: list) -> str:
    return client.messages.create(model="m", max_tokens=9, messages=messages).content[0].text

@step(timeout="9s", rate="10/s")
def fetch(url: str) -> str:
    answer = requests.get(url)
    answer.raise_for_status()
    return answer.text

@workflow(alert="json://localhost")
def agent(urls: list[str]) -> list[str]:
    last = ""
    for _ in range(20):
        last = ask([last])
        if last == "stop":
            break
    fetch.map(urls, concurrency=8).raise_if_dead()
    return [last]

@workflow(schedule="30 3 * * *", tz="UTC", alert="json://localhost")
def nightly() -> None:
    fetch("https://a.example")

@workflow(schedule="*/5 * * * *", alert="json://localhost")
def often() -> None:
    for url in ["a", "b"]:
        agent([url])

@workflow(schedule="every 15m", alert="json://localhost")
def quarterly() -> None:
    fetch("https://a.example")
"""


def test_hints_are_shown_when_asked_for(tmp_path: Path) -> None:
    """Each kind of hint is found where it is meant, not where it is not, and only with `with_hints`."""
    script = tmp_path / "agent.py"
    script.write_text(HINTS)
    marks = {
        (number, line.rpartition("# ")[2])
        for number, line in enumerate(HINTS.splitlines(), start=1)
        if line.rpartition("# ")[2] in RULES
    }
    assert {code for _, code in marks} == {code for code, rule in RULES.items() if rule.severity == "hint"}
    assert {(one.line, one.code) for one in check([script], with_hints=True).findings} == marks
    assert check([script]).findings == []
    script.write_text(QUIET)
    assert check([script], with_hints=True).findings == []


def test_a_global_is_an_error_only_if_a_workflow_reads_it(tmp_path: Path) -> None:
    """What a step loses that nobody of a workflow reads is a warning."""
    script = tmp_path / "count.py"
    text = "from perdure import step, workflow\nN = 0\n@step\ndef f():\n    global N\n    N += 1\n"
    text += "@workflow\ndef w():\n    f()\n"
    script.write_text(text)
    assert [(one.code, one.severity) for one in check([script]).findings] == [("lost-global", "warning")]
    script.write_text(text + "    return N\n")
    assert [(one.code, one.severity) for one in check([script]).findings] == [("lost-global", "error")]


def test_steps_of_agents_are_not_looked_for_in_the_source() -> None:
    """They are named while they are called; the name of their function is the same in all of them."""
    assert agent_steps._unit.__qualname__ == OF_AGENTS


def test_a_workflow_that_a_class_makes_of_its_method_is_found(tmp_path: Path) -> None:
    """In its body, without a decorator."""
    script = tmp_path / "report.py"
    script.write_text(
        "import time\nfrom perdure import step, workflow\n@step(timeout=5)\ndef load(at): return at\n"
        "class Report:\n    def _send(self): load(time.time())\n    send = workflow(_send)\n"
    )
    assert [(one.code, one.line) for one in check([script]).findings] == [("nondeterministic-input", 6)]
