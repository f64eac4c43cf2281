"""The page in Chromium, with what real, killed runs left: it says what is there, and executes nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser, tab
from ui_server import Ui, environment, run_all

# A browser on a busy machine takes minutes: `pytest -m long tests/integration/test_ui_in_a_browser.py`.
pytestmark = pytest.mark.long

HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script>'\"`{{7*7}}${alert(3)}"
    "<svg/onload=alert(4)>javascript:alert(5)\u202e\u2066\x1b[31m</textarea><a href='javascript:alert(6)'>"
)

VIEWS = (
    ("/", "Overview"),
    ("/runs", "Runs"),
    ("/runs/ui_month?step=1", "ui_month"),
    ("/runs/ui_month?show=dead&step=5", "ui_month"),
    ("/runs/ui_backup", "ui_backup"),
    ("/runs/ui_report", "ui_report"),
    ("/runs/ui_refund", "ui_refund"),
    ("/dead", "Dead letters"),
    ("/dead/1", "Dead letters"),
    ("/services", "Services"),
    ("/schedules", "Schedules"),
    ("/waits", "Queues and waits"),
    ("/alerts", "Alerts"),
    ("/doctor", "Doctor"),
    ("/deeds", "Deeds"),
    ("/runs/nothing", "This cannot be shown"),
)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, chrome: Any) -> Path:
    return run_all(tmp_path_factory.mktemp("ui"), HOSTILE)


@pytest.fixture(scope="module")
def ui(state: Path) -> Iterator[Ui]:
    with Ui(state, "--port", "0") as served:
        yield served


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_silent_whatever_runs_have_stored(chrome: Any, ui: Ui, scheme: str):
    """With hostile texts in inputs, errors and results no view executes one, reports to the policy or errs."""
    with tab(chrome, ui.address, scheme) as one:
        for path, heading in VIEWS:
            page = one.open(path, heading)
            page.locator("main :is(.card, [role=alert])").first.wait_for()
        page = one.open("/dead/1", "Dead letters")
        page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
        assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
        shown = page.locator("main").inner_text()
        assert "\\u202e" in shown
        assert not set(shown) & set("\u202e\u2066\x1b")
        wrong = [line for line in one.said if "404" not in line]  # of the run that there is not
        assert wrong == []


def test_the_policy_stops_what_a_text_could_do(chrome: Any, ui: Ui):
    """A control: where the page would write a text as HTML, the browser refuses; a style of its own is reported."""
    with tab(chrome, ui.address) as one:
        page = one.open("/", "Overview")
        refused = page.evaluate(
            "() => { try { document.body.innerHTML = '<img src=x>'; return '' } catch (e) { return e.name } }"
        )
        assert refused == "TypeError"
        page.evaluate(
            "() => { const s = document.createElement('style'); s.textContent = 'x{}'; document.head.append(s); }"
        )
        assert any("Content Security Policy" in line for line in one.said), "a report is seen by these tests"


def test_signing_in_by_the_printed_link(chrome: Any, state: Path):
    """The link signs in once, and its code is erased; a second tab has the token from the first, a stranger none."""
    with Ui(state, "--port", "0") as served:
        context = chrome.new_context()
        page = context.new_page()
        page.goto(f"{served.address}/runs#{served.code}")
        page.get_by_role("heading", level=1, name="Runs").wait_for()
        assert page.url == f"{served.address}/runs"
        second = context.new_page()
        second.goto(f"{served.address}/dead")
        second.get_by_role("heading", level=1, name="Dead letters").wait_for()
        context.close()
        stranger = chrome.new_page()
        stranger.goto(f"{served.address}/runs#{served.code}")
        stranger.get_by_label("Or paste the link").wait_for()
        assert "ui_month" not in stranger.content()
        stranger.close()


def test_from_what_needs_somebody_to_its_record(chrome: Any, ui: Ui):
    """Links and filters lead on, stand in the address, and Back leads back."""
    with tab(chrome, ui.address) as one:
        page = one.open("/", "Overview")
        page.get_by_role("link", name="Open: ui_report").click()
        page.get_by_text("the mail server says no").first.wait_for()
        page.go_back()
        page.get_by_role("link", name="Open: 3 dead letters").click()
        page.get_by_role("link", name="9", exact=True).or_(page.get_by_role("link", name="3", exact=True)).first.click()
        page.wait_for_url("**/dead/3")
        page.get_by_role("link", name="In the run").click()
        page.get_by_role("complementary", name="The step that is chosen").get_by_text("is no number").first.wait_for()
        page.locator("main").get_by_role("link", name="Dead letters 3").click()
        page.wait_for_url("**show=dead")
        page.get_by_role("row", name="ui_price").nth(2).wait_for()
        page.get_by_role("row", name="ui_price").nth(3).wait_for(state="detached")
        page.keyboard.press("g")
        page.keyboard.press("r")
        page.wait_for_url("**/runs")
        page.get_by_label("Text in a run's id or inputs").wait_for()
        page.keyboard.press("/")
        page.locator("[data-search]:focus").wait_for()
        page.keyboard.type("ui_refund")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=ui_refund")
        page.locator("tbody tr").nth(1).wait_for(state="detached")
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.get_by_role("heading", level=1, name="ui_refund").wait_for()


def test_what_others_write_is_shown_without_losing_what_is_typed(chrome: Any, tmp_path: Path):
    """A change of another process appears by itself; focus, typed text and the choice stay."""
    state = run_all(tmp_path)
    with Ui(state, "--port", "0") as served, tab(chrome, served.address) as one:
        page = one.open("/dead?reason=", "Dead letters")
        page.get_by_label("Choose letter 1").check()
        page.get_by_label("Text in the error").fill("half a w")
        command = [sys.executable, "-m", "perdure", "dlq", "drop", "2"]
        done = subprocess.run(command, env=environment(state), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        page.get_by_label("Choose letter 2").wait_for(state="detached")
        assert page.get_by_label("Choose letter 1").is_checked()
        assert page.get_by_label("Text in the error").input_value() == "half a w"
        assert page.get_by_label("Text in the error").evaluate("e => e === document.activeElement")
        assert one.said == []


def test_letters_are_given_up_by_a_click(chrome: Any, tmp_path: Path):
    """The dialog names the command; behind it the page shows what the command printed, and the deed."""
    state = run_all(tmp_path)
    with Ui(state, "--port", "0") as served, tab(chrome, served.address) as one:
        page = one.open("/dead?reason=", "Dead letters")
        page.get_by_label("Choose letter 1").check()
        page.get_by_label("Choose letter 3").check()
        page.get_by_role("button", name="Drop…").first.click()
        page.get_by_role("dialog").get_by_text("perdure dlq drop 1 3").wait_for()
        page.get_by_role("button", name="Drop", exact=True).click()
        page.wait_for_url("**/jobs/*")
        page.get_by_role("log").get_by_text("dropped").first.wait_for()
        page.get_by_role("link", name="Deeds").first.click()
        page.get_by_role("row", name="dlq drop").wait_for()
        page = one.open("/dead", "Dead letters")
        page.get_by_label("Choose letter 2").wait_for()
        assert page.get_by_label("Choose letter 1").count() == 0
        assert one.said == []


def test_no_wide_page_on_a_phone(chrome: Any, ui: Ui):
    """At 390 pixels no view is wider than the screen."""
    with tab(chrome, ui.address, width=390) as one:
        for path, heading in VIEWS:
            page = one.open(path, heading)
            page.locator("main :is(.card, [role=alert])").first.wait_for()
            sizes = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
            assert sizes[0] <= sizes[1], (path, json.dumps(sizes))
