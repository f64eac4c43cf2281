"""The page in Chromium, with what real, killed runs left: it says what is there, and executes nothing of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import axe, browser, tab
from keyboard import AGAIN, repaint_everywhere, walk
from ui_server import Ui, environment, run_all

import warm
from perdure.store.runs import Store

# A browser wants a processor: `python dev.py test` has these beside the checks of types, and not among the others.
pytestmark = pytest.mark.browser

HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script>'\"`{{7*7}}${alert(3)}"
    "<svg/onload=alert(4)>javascript:alert(5)\u202e\u2066\x1b[31m</textarea><a href='javascript:alert(6)'>"
)

HIDDEN = set("\u202e\u2066\x1b")
"""What is in it that a reader would not see, or be misled by: it is shown as escapes."""

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
    ("/search", "Search"),
    ("/search?q=R-4", "Search"),
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


def test_every_view(chrome: Any, ui: Ui):
    """With hostile texts in inputs, errors and results no view executes one, reports to the policy or errs, and each
    shows as escapes what a reader would not see; axe-core
    finds nothing in it, in light and in dark; and on a phone it is no wider than the screen."""
    source = axe()
    with tab(chrome, ui.address) as one:
        for path, heading in VIEWS:
            page = one.open(path, heading)
            page.locator("main :is(.card, [role=alert])").first.wait_for()
            assert one.violations(source) == [], path
            assert not set(page.locator("body").inner_text()) & HIDDEN, path
            page.emulate_media(color_scheme="dark")
            assert one.violations(source, "color-contrast") == [], f"{path} in dark"
            page.emulate_media(color_scheme="light")
            page.set_viewport_size({"width": 390, "height": 900})
            sizes = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
            assert sizes[0] <= sizes[1], (path, sizes)
            page.set_viewport_size({"width": 1440, "height": 900})
        page = one.open("/dead/1", "Dead letters")
        page.get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
        page.get_by_role("button", name="Edit the input").click()
        page.locator(".edit input").nth(1).fill("12")
        assert one.violations(source) == [], "the open editor"
        assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
        shown = page.locator("main").inner_text()
        assert "\\u202e" in shown
        assert not set(shown) & HIDDEN
        wrong = [line for line in one.said if "status of 404" not in line]  # of the run that there is not
        assert wrong == []


def test_every_view_by_the_keyboard(chrome: Any, ui: Ui):
    """Tab leads to all that can be used in each view, and where it is is seen; whatever has the focus keeps it when the
    page is painted anew, with the same and with fewer rows, or what stands next to it has it."""
    with tab(chrome, ui.address) as one:
        one.page.add_init_script(AGAIN)
        for path, heading in VIEWS:
            if path in (
                "/runs/ui_backup",
                "/runs/ui_report",
                "/dead",
                "/search",
            ):  # all that they have others have, too
                continue
            page = one.open(path, heading)
            page.locator("main :is(.card, [role=alert])").first.wait_for()
            count, missed, unseen = walk(page)
            assert count > 10, path
            assert missed == [], path
            assert unseen == [], path
            tried, wrong = repaint_everywhere(page)
            assert tried > 3, path
            assert wrong == [], path


def test_what_is_opened_typed_and_pressed_outlives_a_repaint(chrome: Any, ui: Ui):
    """Between the press and the release of a button, or the keys of a word, the page may be painted anew: the step is
    chosen, and the word is there. What was closed gives the focus back to what it was opened from."""
    with tab(chrome, ui.address) as one:
        one.page.add_init_script(AGAIN)
        page = one.open("/runs/ui_month", "ui_month")
        row = page.get_by_role("row").filter(has_text="#3")
        row.wait_for()
        page.evaluate("() => settled()")  # what comes later above it would move it away from below the mouse
        row.hover()
        page.mouse.down()
        page.evaluate("() => repainted()")
        page.mouse.up()
        side = page.get_by_role("complementary", name="The step that is chosen")
        side.get_by_role("heading", level=2, name="ui_price").wait_for()
        side.get_by_role("button", name="Copy JSON").first.focus()
        page.keyboard.press("Escape")
        side.wait_for(state="hidden")
        page.locator("[role=grid]:focus").wait_for()
        page.keyboard.press("ArrowDown")
        side.get_by_role("heading", level=2, name="ui_price").wait_for()
        field = page.get_by_label("Text in name or input of a step")
        field.focus()
        for letter in "ui_p":
            page.keyboard.type(letter)
            page.evaluate("() => repainted()")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=ui_p*")
        page = one.open("/dead", "Dead letters")
        page.get_by_label("Choose letter 2").focus()  # not the first, which the repaint below leaves out
        page.keyboard.press("Space")
        page.get_by_role("link", name="1", exact=True).press("Enter")
        page.get_by_role("button", name="Edit the input of letter 1").press("Enter")
        page.locator(".edit input:focus").wait_for()
        page.keyboard.type("9")
        page.evaluate("() => repainted()")
        assert page.locator(".edit input:focus").input_value().endswith("9")
        page.get_by_label("Choose letter 3").wait_for(state="detached")
        assert page.get_by_label("Choose letter 2").is_checked()
        page.get_by_role("button", name="Not now").press("Space")
        page.locator("[aria-label='Edit the input of letter 1']:focus").wait_for()


def test_views_of_a_file_without_runs(chrome: Any, tmp_path: Path):
    """Each says what would be there; axe-core finds nothing in that."""
    source = axe()
    Store(tmp_path / "state.db").close()
    with Ui(tmp_path / "state.db", "--port", "0") as served, tab(chrome, served.address) as one:
        for path, heading in VIEWS:
            if path.count("/") == 1 and "?" not in path:
                page = one.open(path, heading)
                page.locator("main .card :is(.empty, .mute, .checks)").first.wait_for()
                assert one.violations(source, within="main") == [], path
        assert one.said == []


def test_what_these_tests_see(chrome: Any, ui: Ui):
    """A control: where the page would write a text as HTML, the browser refuses; a style of its own is reported; and
    axe-core finds a picture that nobody has described."""
    with tab(chrome, ui.address) as one:
        page = one.open("/", "Overview")
        refused = page.evaluate(
            "() => { try { document.body.innerHTML = '<img src=x>'; return '' } catch (e) { return e.name } }"
        )
        assert refused == "TypeError"
        with page.expect_console_message(lambda said: "Content Security Policy" in said.text):
            page.evaluate(
                "() => { const s = document.createElement('style'); s.textContent = 'x{}'; document.head.append(s); }"
            )
        page.evaluate("() => { document.querySelector('main').append(document.createElement('img')); }")
        assert any("image-alt" in line for line in one.violations(axe()))


def test_from_what_needs_somebody_to_its_record(chrome: Any, ui: Ui):
    """Links and filters lead on, stand in the address, and Back leads back."""
    with tab(chrome, ui.address) as one:
        page = one.open("/", "Overview")
        page.locator(".flows tr", has_text="ui_report").locator(".strip").click(position={"x": 221, "y": 12})
        page.wait_for_url("**/runs/*")  # that of the last run, whose mark it is
        page.go_back()
        page.get_by_role("link", name="Open: ui_report").click()
        page.get_by_text("the mail server says no").first.wait_for()
        page.get_by_role("button", name="Resume…").click()
        page.get_by_role("dialog").wait_for()
        page.go_back()
        page.get_by_role("dialog").wait_for(state="detached")
        page.get_by_role("link", name="Open: 3 dead letters").click()
        page.get_by_role("link", name="9", exact=True).or_(page.get_by_role("link", name="3", exact=True)).first.click()
        page.wait_for_url("**/dead/3")
        page.get_by_role("link", name="In the run").click()
        page.get_by_role("complementary", name="The step that is chosen").get_by_text("is no number").first.wait_for()
        page.locator("main").get_by_role("link", name="Dead letters 3").click()
        page.wait_for_url("**show=dead")
        page.get_by_role("row", name="ui_price").nth(2).wait_for()
        page.get_by_role("row", name="ui_price").nth(3).wait_for(state="detached")
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_url("**t=*")
        page.keyboard.press("0")
        page.get_by_role("button", name="Whole run").wait_for(state="detached")
        page.wait_for_url(lambda address: "t=" not in address)
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


LOST = (
    ("/", "", "Needs you"),
    ("/runs/ui_month?step=5&log=", "", "Idempotency key"),
    ("/dead/1", "/accepted", "Letter 1"),
)


def losing(ending: str, lost: set[str]) -> Callable[[Any], None]:
    """What becomes of requests: the first for each address that ends so is lost."""

    def lose(route: Any) -> None:
        address = route.request.url.partition("?")[0]
        if address in lost or not address.endswith(ending):
            route.continue_()
        else:
            lost.add(address)
            route.abort()

    return lose


def test_what_fails_is_said_and_asked_for_again(chrome: Any, ui: Ui):
    """Whichever answers are lost once, the view says so, asks again by itself, and is whole in the end."""
    for path, ending, heading in LOST:
        with tab(chrome, ui.address) as one:
            page, lost = one.page, set[str]()
            page.route("**/api/v1/**", losing(ending, lost))
            page.goto(ui.address + path)
            trouble = page.get_by_role("alert").filter(has_text="the server does not answer")
            trouble.wait_for()
            page.get_by_role("heading", name=heading, exact=True).wait_for()
            trouble.wait_for(state="detached")
            page.get_by_text("live", exact=True).wait_for()
            assert len(lost) >= (8 if "runs" in path else 1)
            assert [line for line in one.said if "Failed to load resource" not in line] == []


def test_an_answer_to_a_view_that_was_left_is_shown_nowhere(chrome: Any, ui: Ui):
    """One that comes late, when another view stands there already, takes nothing of that away."""
    with tab(chrome, ui.address) as one:
        page = one.open("/dead/3", "Dead letters")
        held: list[Any] = []
        page.route("**/letters/reasons", lambda route: held.append(route))
        page.evaluate("() => dispatchEvent(new PopStateEvent('popstate'))")  # it asks anew
        page.get_by_role("link", name="In the run").click()
        page.get_by_role("heading", name="Idempotency key").wait_for()
        with page.expect_response("**/letters?*"):
            held[0].continue_()
        page.evaluate("() => new Promise(done => setTimeout(done))")
        assert page.get_by_role("heading", name="Idempotency key").is_visible()
        assert page.get_by_role("heading", level=1, name="ui_month").is_visible()
        assert "Dead letters" not in page.title()


def test_steps_that_are_looked_for_longer_than_one_answer(chrome: Any, ui: Ui):
    """While nothing is found, and not all was looked at, the table says just that; "No step fits" is said at last."""
    with tab(chrome, ui.address) as one:
        held: list[Any] = []

        def answered(route: Any) -> None:
            if "after=" in route.request.url:
                held.append(route)
            else:  # as one whose two seconds were over
                route.fulfill(json={**route.fetch().json(), "steps": [], "next": "1"})

        one.page.route("**/steps?*q=*", answered)
        page = one.open("/runs/ui_month?q=nothing", "ui_month")
        page.get_by_text("No step so far.").wait_for()
        with page.expect_response("**/steps?*after=*"):
            held[0].continue_()
        page.get_by_text("No step fits.").wait_for()
        page.get_by_text("No step so far.").wait_for(state="detached")


FAMILY = """
from perdure import step, workflow

@step
def ui_item(n: int) -> int:
    return n

@workflow
def ui_part(n: int) -> int:
    return ui_item(n) + ui_item(n)

@workflow
def ui_whole() -> int:
    return sum(ui_part(n) for n in range(3))

ui_whole()
"""


def test_runs_whose_ids_an_address_does_not_take_as_they_are(chrome: Any, tmp_path: Path):
    """A click on a run opens it, and its steps, whatever its id is made of."""
    odd = ("eu/7", "50%", "a%2Fb", "..")
    program = (
        "import sys\nfrom perdure import step, workflow\nsquare = step(lambda n: n * n, name='square')\n@workflow\n"
        "def ui_odd(n: int) -> int:\n    return square(n)\n"
        "for k, name in enumerate(sys.argv[1:]):\n    ui_odd.with_options(id=name)(k)\n"
    )
    script = tmp_path / "odd.py"
    script.write_text(program)
    state = tmp_path / "state.db"
    warm.run([sys.executable, str(script), *odd], env=environment(state), capture_output=True, check=True)
    with Ui(state, "--port", "0") as ui, tab(chrome, ui.address) as one:
        for k, name in enumerate(odd):
            page = one.open("/runs", "Runs")
            page.get_by_role("row").filter(has=page.get_by_title(name, exact=True)).get_by_role("link").click()
            page.get_by_role("heading", level=1, name=f"ui_odd({k})").wait_for()
            page.get_by_role("row").filter(has_text="square").click()
            page.get_by_role("heading", name="Idempotency key").wait_for()
        assert one.said == []


RESUMED = """
import sys
from perdure import Retry, step, workflow

@step(retry=Retry(attempts=3, delay=0.001, jitter=0))
def ui_call() -> None:
    if sys.argv[1] == "badly":
        raise ConnectionError("nobody listens")

@workflow
def ui_twice() -> None:
    ui_call()

try:
    ui_twice()
except ConnectionError:
    pass
"""


def test_attempts_before_a_run_was_resumed_are_told_apart(chrome: Any, tmp_path: Path):
    """The call's row and its inspector count the same attempts: those since; the others are listed before them."""
    (tmp_path / "twice.py").write_text(RESUMED, encoding="utf-8")
    state = tmp_path / "state.db"
    for end in ("badly", "well"):
        subprocess.run([sys.executable, "twice.py", end], env=environment(state), cwd=tmp_path, check=True)
    with Ui(state, "--port", "0") as served, tab(chrome, served.address) as one:
        page = one.open("/runs/ui_twice?step=1", "ui_twice")
        page.get_by_role("heading", name="1 attempt 3 before the run was resumed").wait_for()
        assert page.get_by_role("gridcell").nth(3).inner_text() == "1"
        numbers = page.locator(".att b").all_inner_texts()
        assert numbers == ["Attempt 1", "Attempt 2", "Attempt 3", "Attempt 1"]
        page.get_by_text("between: the run was resumed").wait_for()
        assert one.said == []


def test_child_runs_open_in_place(chrome: Any, tmp_path: Path):
    """Each is a band below the timeline; opened by the keyboard it shows its calls and leads to the run, and whatever
    draws it again leaves the focus where it is. Beside each filter of runs stands how many it lists."""
    state = tmp_path / "state.db"
    subprocess.run([sys.executable, "-c", FAMILY], env=environment(state), cwd=tmp_path, check=True)
    with Ui(state, "--port", "0") as served, tab(chrome, served.address) as one:
        page = one.open("/runs", "Runs")
        page.get_by_role("link", name="Done 1", exact=True).wait_for()
        page.get_by_role("link", name="ui_whole").click()
        bands = page.get_by_role("button", name="child run")
        bands.nth(2).wait_for()
        bands.first.press("Enter")
        page.get_by_role("img", name=re.compile(r"^2 calls in \d lanes?")).wait_for()
        assert bands.first.get_attribute("aria-expanded") == "true"
        has_focus = "() => document.activeElement === document.querySelector('.band')"
        assert page.evaluate(has_focus)
        page.evaluate("() => dispatchEvent(new PopStateEvent('popstate'))")
        assert page.evaluate(has_focus), "the same address again"
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.get_by_role("img", name=re.compile(r"^2 calls in \d lanes?")).wait_for()
        assert page.evaluate(has_focus), "closed, and opened again"
        assert one.violations(axe()) == []
        page.get_by_role("link", name="Open the run").click()
        page.get_by_role("heading", level=1, name="ui_part").wait_for()
        page.goto(f"{served.address}/runs?children=true")
        page.get_by_role("link", name="Done 4", exact=True).wait_for()
        assert one.said == []


MUCH = """
import contextlib
from perdure import Retry, step, workflow

@step(retry=Retry(attempts=1))
def ui_much(n: int) -> int:
    raise ValueError(f"item {n} is refused")

def made(k: int):
    @workflow(name=f"ui_flow_{k}")
    def flow(n: int) -> None:
        ui_much.map([n, n + 1])
        if n % 2:
            raise RuntimeError("no more money")
    return flow

for k in range(9):
    for n in range(4):
        with contextlib.suppress(RuntimeError):
            made(k)(n)
"""


def test_a_view_has_few_elements_however_much_there_is(chrome: Any, tmp_path: Path):
    """At most 400; the rest of a list is a press of a button away, which keeps the focus, and takes it away again."""
    state = tmp_path / "state.db"
    warm.run([sys.executable, "-c", MUCH], env=environment(state), cwd=tmp_path, check=True)
    with Ui(state, "--port", "0") as served, tab(chrome, served.address) as one:
        one.page.add_init_script(AGAIN)
        for path, heading in (*VIEWS[:2], ("/dead", "Dead letters"), ("/search?q=ui_", "Search")):
            page = one.open(path, heading)
            page.locator("main .card [data-row]").first.wait_for()
            page.locator(".side .n").first.wait_for()  # the counts beside the views come last
            count = "async () => { await settled(); return document.querySelectorAll('*').length }"
            assert 100 < page.evaluate(count) <= 400, path
            more = page.get_by_role("button", name=re.compile("^Show all"))
            if path != "/runs":  # whose older ones have an address of their own
                first = page.evaluate(count)
                more.last.press("Enter")
                page.get_by_role("button", name="Show fewer").press("Enter")
                page.get_by_role("button", name="Show fewer").wait_for(state="detached")
                assert page.evaluate(count) == first
                assert page.evaluate("() => document.activeElement.textContent").startswith("Show all")
        assert one.said == []


def test_the_page_below_a_path_of_a_proxy(chrome: Any, state: Path):
    """With --root-path all that the page asks for, and each link in it, is below that path; also what is searched."""
    with Ui(state, "--port", "0", "--root-path", "/ops/perdure") as served, tab(chrome, served.address) as one:
        assert served.address.endswith("/ops/perdure")
        page = one.open("/runs", "Runs")
        hrefs = page.evaluate("() => [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
        assert [href for href in hrefs if not href.startswith(("/ops/perdure/", "#"))] == []
        page.keyboard.press("g")
        page.keyboard.press("f")
        page.get_by_role("heading", name="Search").wait_for()
        field = page.locator("[data-search]")
        field.fill("R-4")
        field.press("Enter")
        page.locator("main [data-row]", has_text="ui_price").first.click()
        page.get_by_role("heading", name="ui_month").wait_for()
        assert page.url.startswith(f"{served.address}/runs/ui_month")
        assert one.said == []
