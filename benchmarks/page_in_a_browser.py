"""What the page costs in Chromium: `python benchmarks/page_in_a_browser.py`, with the packages for development.

The overview in a file of many runs, and in it a run of 100,000 steps, each opened cold (a new browser context: nothing
is cached) and warm (again). How long it takes until the rows are painted says as much about the machine as about the
page, so its load is printed, and what does not depend on it: CPU of the tab's main thread, bytes that came over the
connection, nodes and heap; and how long a far position of the table takes until its rows are there.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from listings import make
from page import TOKEN, serving
from playwright.sync_api import sync_playwright

OBSERVER = """
window.longTasks = [];
const keep = list => window.longTasks.push(...list.getEntries().map(one => one.duration));
new PerformanceObserver(keep).observe({ type: "longtask", buffered: true });
"""

SCROLL = """
([place, total]) => new Promise(done => {
  const box = document.querySelector(".vt"), began = performance.now();
  const there = () => {
    const rows = [...box.querySelectorAll(".row")], first = Number(rows[0]?.getAttribute("aria-rowindex"));
    const near = Math.abs(first / total - place) < 0.02;
    return near && rows[1].textContent.includes("charge");
  };
  box.scrollTop = place * box.scrollHeight;
  const look = () => there() ? done(performance.now() - began) : requestAnimationFrame(look);
  requestAnimationFrame(look);
})
"""

VIEWS = (
    ("overview", "/", "main .flows tbody tr"),
    ("the long run", "/runs/long", ".vt .row:nth-child(10)"),
)


def opened(page: Any, debugger: Any, address: str, rows: str) -> dict[str, float]:
    """Open an address until its rows are painted, and what that took."""
    debugger.send("Network.enable")
    sizes: list[float] = []
    debugger.on("Network.loadingFinished", lambda one: sizes.append(one["encodedDataLength"]))
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.locator(rows).first.wait_for()
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    took = time.perf_counter() - began
    found = {one["name"]: one["value"] for one in debugger.send("Performance.getMetrics")["metrics"]}
    return {
        "painted": took,
        "cpu": found["TaskDuration"],
        "long": len(page.evaluate("() => window.longTasks")),
        "bytes": sum(sizes),
        "nodes": page.evaluate("() => document.querySelectorAll('*').length"),
        "heap": found["JSHeapUsedSize"],
    }


def measure(browser: Any, address: str, rounds: int, steps: int) -> None:
    """Each view, cold and warm; the long run has so many steps."""
    for name, path, rows in VIEWS:
        for warm in (False, True):
            found = []
            for _ in range(rounds):
                context = browser.new_context(viewport={"width": 1440, "height": 900})
                context.set_default_timeout(120_000)
                context.add_init_script(f"sessionStorage.setItem('perdure-token', {json.dumps(TOKEN)});{OBSERVER}")
                page = context.new_page()
                debugger = context.new_cdp_session(page)
                debugger.send(
                    "Performance.enable", {"timeDomain": "threadTicks"}
                )  # CPU: what others use does not count
                if warm:
                    opened(page, debugger, address + path, rows)
                    page.goto("about:blank")
                found.append(opened(page, debugger, address + path, rows))
                if not warm and path != "/" and len(found) == 1:
                    far = [page.evaluate(SCROLL, [place, steps]) for place in (0.5, 0.9, 0.1, 0.7)]
                    print(f"  a far position of its table: {median(far):.0f} ms (median of {len(far)})")
                context.close()
            best = {key: min(one[key] for one in found) for key in found[0]}
            middle = {key: median(one[key] for one in found) for key in found[0]}
            print(
                f"{name:<14} {'warm' if warm else 'cold'}: painted {best['painted']:.2f} s at best, median"
                f" {middle['painted']:.2f} s, at a load of {os.getloadavg()[0]:.0f} on {os.cpu_count()} processors;"
                f" CPU of the tab {best['cpu'] * 1000:.0f} ms; long tasks {best['long']:.0f};"
                f" {middle['bytes'] / 1000:.0f} KB; {middle['nodes']:.0f} nodes; heap {middle['heap'] / 1e6:.1f} MB"
            )


def main() -> None:
    """Make the file, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--keep", type=Path, help="make the large file there, or take the one that lies there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = given.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        large = folder / "large.db"
        if not large.exists():
            make(large, given.runs, given.steps)
        browser = playwright.chromium.launch(executable_path=given.browser, args=["--no-sandbox"])
        with serving(large) as (_, client, _):
            measure(browser, str(client.base_url).rstrip("/"), given.rounds, given.steps)
        browser.close()


if __name__ == "__main__":
    main()
