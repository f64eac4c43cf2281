// The keys: to each view, through rows and the timeline; and the dialog that names them.

import { find, h, opened } from "./dom.js";

/** The views beside which a key stands: address, mark, title, key after `g`. */
export const NAV = [
  ["/", "home", "Overview", "o"],
  ["/runs", "list", "Runs", "r"],
  ["/dead", "dead", "Dead letters", "d"],
  ["/schedules", "clock", "Schedules", "c"],
  ["/waits", "lanes", "Queues and waits", "w"],
  ["/services", "bolt", "Services", "s"],
  ["/alerts", "bell", "Alerts", "a"],
  ["/doctor", "pulse", "Doctor", "h"],
  ["/deeds", "key", "Deeds", "e"],
  ["/search", "search", "Search", "f"],
];

const ZOOM = { "+": "in", "-": "out", "[": "left", "]": "right", 0: "all" };
let before = "";
/** Hear the keys that are pressed outside of fields and dialogs. */
export function hear(go, main) {
  addEventListener("keydown", e => pressed(e, go, main));
}
function pressed(e, go, main) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const at = /** @type {HTMLElement} */ (e.target);
  if (e.key === "Escape" && at.matches?.("input, textarea")) {
    at.blur();
    return;
  }
  if (at.closest?.("input, textarea, select, dialog")) return;
  const led = before === "g";
  before = e.key;
  if (led) {
    const to = NAV.find(x => x[3] === e.key);
    if (to) {
      e.preventDefault();
      go(to[0]);
    }
    return;
  }
  if (e.key === "/") {
    e.preventDefault();
    const field = find("[data-search]", main);
    if (field) field.focus();
    else go("/search");
  } else if (e.key === "?") help();
  else if (ZOOM[e.key]) find(`[data-zoom=${ZOOM[e.key]}]`, main)?.click();
  else if (e.key === "w") find("[data-waits]", main)?.click();
  else if ((e.key === "j" || e.key === "k") && !at.closest?.("[role=grid]")) {
    const rows = /** @type {HTMLElement[]} */ ([...main.querySelectorAll("[data-row]")]),
      k = rows.indexOf(/** @type {HTMLElement} */ (at.closest?.("[data-row]"))) + (e.key === "j" ? 1 : -1);
    if (rows.length) {
      e.preventDefault();
      rows[Math.max(0, Math.min(rows.length - 1, k))].focus();
    }
  }
}
function help() {
  const keys = [
    ["/", "search in this view, or everywhere"],
    ["j  k", "next and previous row"],
    ["Enter", "open the row"],
    ["Esc", "leave a field, close a dialog"],
    ["w", "show waits in the timeline, or hide them"],
    ["+  −", "zoom into the timeline, and out"],
    ["[  ]", "earlier and later in it"],
    ["0", "the whole run"],
    ...NAV.map(([, , text, key]) => [`g ${key}`, text]),
  ];
  const box = h(
    "dialog",
    { "aria-label": "Keys" },
    h(
      "div.in",
      h("h2", "Keys"),
      h(
        "dl.keys",
        keys.map(([k, t]) => [h("dt", h("kbd", k)), h("dd", t)]),
      ),
    ),
    h("footer", h("button.btn", { type: "button", on: { click: () => box.close() } }, "Close")),
  );
  opened(box);
}
