"""The keyboard in a tab: what is reached by Tab, and what becomes of the focus when the page is painted anew."""

from __future__ import annotations

from typing import Any

AGAIN = """
(() => {
  // What was answered once is answered again, without the server; of lists every second time without their first row.
  const known = new Map(), real = window.fetch;
  let open = 0, short = false;
  const fewer = x => Array.isArray(x)
    ? (short && x.length > 1 && x[0] && typeof x[0] === "object" ? x.slice(1) : x).map(fewer)
    : x && typeof x === "object" ? Object.fromEntries(Object.entries(x).map(([k, v]) => [k, fewer(v)])) : x;
  window.fetch = async (address, options) => {
    const url = String(address);
    if (!url.includes("/api/v1/") || url.includes("/events") || (options?.method ?? "GET") !== "GET")
      return real(address, options);
    open++;
    try {
      if (!known.has(url)) {
        const answer = await real(address, options);
        if (!answer.ok) return answer;
        known.set(url, await answer.json());
      }
      const data = /[/](steps|timeline|log|call)/.test(url) ? known.get(url) : fewer(known.get(url));
      return new Response(JSON.stringify(data), { headers: { "Content-Type": "application/json" } });
    } finally {
      open--;
    }
  };
  const frame = () => new Promise(done => requestAnimationFrame(() => done()));
  window.settled = async () => {
    for (let quiet = 0; quiet < 2; quiet = open ? 0 : quiet + 1) await frame();
  };
  /** Paint all that is seen anew, as a change of the file does, and a change of the window. */
  window.repainted = async () => {
    short = !short;
    dispatchEvent(new PopStateEvent("popstate"));
    dispatchEvent(new Event("resize"));
    await settled();
  };
  const seen = one => one.checkVisibility({ visibilityProperty: true }) && one.tabIndex >= 0 && !one.disabled;
  window.reached = () =>
    [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter(seen);
  /** What somebody hears who is there; numbers may become others. */
  window.called = one =>
    `${one.tagName} ${one.getAttribute("aria-label") ?? one.textContent}`
      .replaceAll(/[\\d.,]+/g, "#").replaceAll(/s\\b/g, "").slice(0, 80);
})()
"""

REPAINT = """
async most => {
  const wrong = [], kinds = {};
  const kind = one => `${one.tagName}.${one.className}`;
  const places = reached().map((one, k) => [kind(one), k])
    .filter(([name]) => (kinds[name] = (kinds[name] || 0) + 1) <= most);
  let tried = 0;
  for (const [name, k] of places) {
    const one = reached()[k];
    if (!one || kind(one) !== name) continue;
    const said = called(one);
    one.focus();
    for (let turn = 0; turn < 2; turn++) {
      await repainted();
      const now = document.activeElement;
      if (one.isConnected ? now !== one || called(one) !== said : now === document.body)
        wrong.push(`${said}: then ${called(now)}, ${one.isConnected ? "there" : "gone"}`);
    }
    tried++;
  }
  return [tried, wrong];
}
"""

STEPS = """
() => {
  // Each Tab: where the focus is, and whether that is seen.
  window.met = new Set();
  window.hidden = [];
  document.addEventListener("focusin", e => {
    met.add(e.target);
    const look = getComputedStyle(e.target), box = e.target.getBoundingClientRect();
    const around = getComputedStyle(e.target.closest("label") || e.target); // of a field the whole box is marked
    const lined = x => x.outlineStyle !== "none" && parseFloat(x.outlineWidth) > 0;
    const ring = [look, around].some(x => lined(x) || x.boxShadow !== "none");
    if (!(ring && box.width && box.bottom > 0 && box.top < innerHeight)) hidden.push(called(e.target));
  });
  document.activeElement.blur();
  return reached().length;
}
"""


def repaint_everywhere(page: Any, most: int = 2) -> tuple[int, list[str]]:
    """Focus what can be focused, so many of a kind, and repaint twice: how many that were, and which lost the focus."""
    page.evaluate("() => settled()")
    tried, wrong = page.evaluate(REPAINT, most)
    return tried, wrong


def walk(page: Any) -> tuple[int, list[str], list[str]]:
    """Press Tab until all of the page was passed: how many places, which were not met, and where it is not seen."""
    page.evaluate("() => settled()")
    pressed, count = 0, page.evaluate(STEPS)
    while pressed <= count:
        page.keyboard.press("Tab")
        pressed += 1
        if pressed > count:  # some may have come since
            count = page.evaluate("() => reached().length")
    missed = page.evaluate("() => reached().filter(one => !met.has(one)).map(called)")
    return count, missed, page.evaluate("() => hidden")
