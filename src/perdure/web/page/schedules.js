// The schedules as a table; of the one that is chosen, what became of its ticks.

import { get } from "./api.js";
import { card, empty, h, heading, patch, pill, pairs } from "./dom.js";
import { runLink, table } from "./table.js";
import { address, field } from "./tool.js";
import { ago, at, many, n, took } from "./words.js";

/** What needs somebody first: a schedule that no worker serves, then those that are served, then those that rest. */
const rank = one => (one.status === "damaged" || one.overdue ? 0 : one.status === "active" ? 1 : 2);
const fate = tick => [
  pill(tick.status || (tick.outcome === "skipped" ? "cancelled" : "queued"), tick.status || tick.outcome),
  tick.why ? h("span.mute", ` ${tick.why}`) : null,
];
const coming = one =>
  one.status !== "active"
    ? pill(one.status === "damaged" ? one.status : "cancelled", one.status)
    : one.overdue
      ? pill("waiting", `overdue for ${took(one.overdue)}`)
      : one.next
        ? ago(one.next)
        : "–";

export function schedules({ main, query, go }) {
  let asked = query;
  const to = changed => address("/schedules", asked, changed);
  async function refresh() {
    const { schedules: found } = await get("/schedules", { latest: 1 }),
      name = asked.get("name") || (found.length === 1 ? found[0].name : null),
      chosen = name == null ? null : (await get("/schedules", { name, latest: 20 })).schedules[0],
      ticked = found.some(one => one.latest.length),
      text = (asked.get("q") || "").toLowerCase(),
      rows = found
        .filter(one => `${one.name} ${one.workflow}`.toLowerCase().includes(text))
        .sort((a, b) => rank(a) - rank(b)),
      late = found.filter(one => one.overdue).length;
    patch(
      main,
      heading("Schedules", h("span", "what runs when, and each tick")),
      h(
        "div.stack",
        found.length
          ? h(
              "section.card",
              { "aria-label": "Schedules", "data-key": "all" },
              h(
                "div.tool",
                h("span.mute", many(found.length, "schedule"), late ? `, ${n(late)} of them overdue` : null),
                h("span.grow"),
                field("Text in name or workflow", "name or workflow", asked.get("q"), q => go(to({ q }))),
              ),
              rows.length
                ? table(
                    "Schedules",
                    [
                      [
                        "Name",
                        one => h("a", { href: to({ name: one.name }), "data-row": true }, h("b", one.name)),
                        "whole",
                      ],
                      ["When", one => [h("span.mono", one.spec), h("span.mute", ` ${one.tz}`)]],
                      ["Workflow", one => one.workflow, "whole"],
                      ticked && [
                        "Latest tick",
                        one =>
                          one.latest.length
                            ? [fate(one.latest[0]), h("span.faint.nowrap", ` ${ago(one.latest[0].due)}`)]
                            : "–",
                        "",
                        one => at(one.latest[0]?.due),
                      ],
                      ["Next", coming, "r", one => at(one.next)],
                    ],
                    rows,
                    one => one.name,
                    { some: rows.length > 14 && chosen != null, current: one => one.name === name },
                  )
                : empty("No schedule matches. ", h("a.link", { href: "/schedules" }, "Show all schedules")),
            )
          : h(
              "section.card",
              empty(
                "No schedule is declared in this state file. A script declares one with ",
                h("code", "@workflow(schedule=...)"),
                ", and a worker serves it: ",
                h("code", "perdure worker FILE"),
              ),
            ),
        chosen ? details(chosen) : name == null ? null : h("section.card", empty(`There is no schedule ${name}.`)),
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
    one.status !== "damaged" &&
      pairs([
        ["When", h("span.mono", `${one.spec}  ${one.tz}`)],
        ["Next", one.status === "active" && one.next ? `${at(one.next)}, ${ago(one.next)}` : coming(one)],
        ["Workflow", one.workflow],
        ["If one still runs", one.overlap],
        ["If ticks are missed", `${one.missed}${one.missed_ticks ? `; ${n(one.missed_ticks)} were` : ""}`],
        ["Queue", one.queue || "–"],
      ]),
    one.note ? h("p.hint", one.note) : null,
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
      : one.status !== "damaged" && empty("No tick of it has been due yet."),
  );
