"""At work with the page in Chromium: signing in, letters given up, what others write meanwhile. Minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import browser, tab
from ui_server import Ui, environment, run_all

import warm

# `pytest -m long tests/integration/test_ui_at_work_in_a_browser.py`
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as started:
        yield started


def test_signing_in_by_the_printed_link(chrome: Any, tmp_path: Path):
    """The link signs in once, and its code is erased; a second tab has the token from the first, a stranger none."""
    state = run_all(tmp_path)
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


def test_what_others_write_is_shown_without_losing_what_is_typed(chrome: Any, tmp_path: Path):
    """A change of another process appears by itself; focus, typed text and the choice stay."""
    state = run_all(tmp_path)
    with Ui(state, "--port", "0") as served, tab(chrome, served.address) as one:
        page = one.open("/dead?reason=", "Dead letters")
        page.get_by_label("Choose letter 1").check()
        page.get_by_label("Text in the error").fill("half a w")
        command = [sys.executable, "-m", "perdure", "dlq", "drop", "2"]
        done = warm.run(command, env=environment(state), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        page.get_by_label("Choose letter 2").wait_for(state="detached")
        assert page.get_by_label("Choose letter 1").is_checked()
        assert page.get_by_label("Text in the error").input_value() == "half a w"
        assert page.get_by_label("Text in the error").evaluate("e => e === document.activeElement")
        assert one.said == []


def test_letters_are_given_up_by_a_click(chrome: Any, tmp_path: Path):
    """The dialog names the command, with all that is chosen by then, also while the server does not answer; behind it
    the page shows what the command printed, and the deed."""
    state = run_all(tmp_path)
    with Ui(state, "--port", "0") as served, tab(chrome, served.address) as one:
        page = one.open("/dead?reason=", "Dead letters")
        page.get_by_label("Choose letter 1").check()
        page.get_by_role("region", name="What is chosen").wait_for()
        held: list[Any] = []
        page.route("**/api/v1/letters**", lambda one: held.append(one))
        page.get_by_label("Choose letter 3").check()
        page.get_by_role("button", name="Drop…").first.click()
        assert "perdure dlq drop 1 3" in page.get_by_role("dialog").inner_text()
        page.unroute("**/api/v1/letters**")
        for one_held in held:
            one_held.continue_()
        page.get_by_role("button", name="Drop", exact=True).click()
        page.wait_for_url("**/jobs/*")
        page.get_by_role("log").get_by_text("dropped").first.wait_for()
        page.get_by_role("link", name="Deeds").first.click()
        page.get_by_role("row", name="dlq drop").wait_for()
        page = one.open("/dead", "Dead letters")
        page.get_by_label("Choose letter 2").wait_for()
        assert page.get_by_label("Choose letter 1").count() == 0
        assert one.said == []
