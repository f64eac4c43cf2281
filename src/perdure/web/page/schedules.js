// The schedules as a table; of the one that is chosen, what became of its ticks.

import { get } from "./api.js";
import { card, empty, h, heading, mark, patch, pill } from "./dom.js";
import { runLink, table } from "./table.js";
import { ago, at, n, took } from "./words.js";

const STAND = [
  ["", "All", () => true],
  ["overdue", "Overdue", one => one.status === "active" && one.overdue],
  ["paused", "Paused", one => one.status === "paused"],
  ["undeclared", "Undeclared", one => one.status === "undeclared"],
];
const fate = tick => [
  pill(tick.status || (tick.outcome === "skipped" ? "cancelled" : "queued"), tick.status || tick.outcome),
  tick.why ? h("span", { class: "mute" }, ` ${tick.why}`) : null,
];
const coming = one =>
  one.status !== "active"
    ? pill("cancelled", one.status)
    : one.overdue
      ? pill("waiting", `overdue for ${took(one.overdue)}`)
      : one.next
        ? ago(one.next)
        : "–";

export function schedules({ main, query, go }) {
  let asked = query;
  const to = changed => {
    const q = new URLSearchParams(asked);
    for (const [k, v] of Object.entries(changed))
      if (v) q.set(k, v);
      else q.delete(k);
    return `/schedules${q.size ? `?${q}` : ""}`;
  };
  async function refresh() {
    const { schedules: found } = await get("/schedules", { latest: 1 }),
      name = asked.get("name") || (found.length === 1 ? found[0].name : null),
      chosen = name == null ? null : (await get("/schedules", { name, latest: 20 })).schedules[0],
      status = asked.get("status") || "",
      ticked = found.some(one => one.latest.length),
      text = (asked.get("q") || "").toLowerCase(),
      rows = found.filter(
        one =>
          (STAND.find(([k]) => k === status)?.[2](one) ?? true) &&
          `${one.name} ${one.workflow}`.toLowerCase().includes(text),
      );
    patch(
      main,
      heading("Schedules", h("span", {}, "what runs when, and what became of each tick")),
      h(
        "div",
        { class: "stack" },
        found.length
          ? h(
              "section",
              { class: "card", "aria-label": "Schedules", "data-key": "all" },
              h(
                "div",
                { class: "tool" },
                STAND.map(([k, title, of]) => [k, title, found.filter(of).length])
                  .filter(([k, , count]) => !k || k === status || count)
                  .map(([k, title, count]) =>
                    h(
                      "a",
                      { class: "chip", href: to({ status: k }), "aria-current": k === status ? "true" : null },
                      title,
                      h("span", { class: "n" }, n(count)),
                    ),
                  ),
                h("span", { class: "grow" }),
                h(
                  "label",
                  { class: "search" },
                  mark("search", 12, true),
                  h("input", {
                    "data-search": true,
                    "aria-label": "Text in name or workflow",
                    placeholder: "text in name or workflow",
                    spellcheck: "false",
                    value: asked.get("q") || "",
                    on: { change: e => go(to({ q: e.target.value.trim() })) },
                  }),
                  h("kbd", {}, "/"),
                ),
              ),
              rows.length
                ? table(
                    "Schedules",
                    [
                      [
                        "Name",
                        one => h("a", { href: to({ name: one.name }), "data-row": true }, h("b", {}, one.name)),
                        "whole",
                      ],
                      [
                        "When",
                        one => [h("span", { class: "mono" }, one.spec), h("span", { class: "mute" }, ` ${one.tz}`)],
                      ],
                      ["Workflow", one => one.workflow, "whole"],
                      ticked && ["Latest tick", one => (one.latest.length ? fate(one.latest[0]) : "–")],
                      [
                        "Due",
                        one => (one.latest.length ? ago(one.latest[0].due) : "–"),
                        "r mute",
                        one => at(one.latest[0]?.due),
                      ],
                      ["Next", coming, "r", one => at(one.next)],
                    ],
                    rows,
                    one => one.name,
                    { some: rows.length > 14 && chosen != null, current: one => one.name === name },
                  )
                : empty("No schedule matches. ", h("a", { class: "link", href: "/schedules" }, "Show all schedules")),
            )
          : h(
              "section",
              { class: "card" },
              empty(
                "No schedule is declared in this state file. A script declares one with ",
                h("code", {}, "@workflow(schedule=...)"),
                ", and a worker serves it: ",
                h("code", {}, "perdure worker FILE"),
              ),
            ),
        chosen
          ? details(chosen)
          : name == null
            ? null
            : h("section", { class: "card" }, empty(`There is no schedule ${name}.`)),
      ),
    );
  }
  return {
    refresh,
    readdress(q) {
      asked = q;
      return refresh();
    },
  };
}
const details = one =>
  card(
    one.name,
    null,
    h(
      "div",
      { class: "facts" },
      [
        ["When", h("span", { class: "mono" }, `${one.spec}  ${one.tz}`)],
        ["Next", one.status === "active" && one.next ? `${at(one.next)}, ${ago(one.next)}` : coming(one)],
        ["Workflow", one.workflow],
        ["If one still runs", one.overlap],
        ["If ticks are missed", `${one.missed}${one.missed_ticks ? `; ${n(one.missed_ticks)} were` : ""}`],
        ["Queue", one.queue || "–"],
      ].map(([k, v]) => h("dl", {}, h("dt", {}, k), h("dd", {}, v))),
    ),
    one.note ? h("p", { class: "hint" }, one.note) : null,
    one.latest.length
      ? table(
          `Ticks of ${one.name}`,
          [
            ["Tick", t => at(t.due)],
            ["What became of it", fate],
            ["Run", t => runLink(t.run), "wide"],
            ["Took", t => took(t.seconds), "r"],
          ],
          one.latest,
          t => t.due,
          { some: false },
        )
      : empty("No tick of it has been due yet."),
  );
