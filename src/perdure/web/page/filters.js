// What stands above the steps of a run and above its timeline: filters, what the marks mean, how to come nearer.

import { button, h } from "./dom.js";
import { chip, exporting, field, used } from "./tool.js";
import { dur, n } from "./words.js";

const SHOW = [
  ["", "All"],
  ["dead", "Dead letters"],
  ["failed", "Failed"],
  ["retried", "Tried again"],
  ["waited", "Waited"],
  ["cut", "Broken off"],
];
/** The filters of the steps. @param {URLSearchParams} asked what the address asks for @param {Object} details of the run @param {number[]|null} t the part of its time that is chosen */
export function filters(asked, details, t, address, to) {
  const show = asked.get("show") || "";
  const sum = f => details.groups.reduce((a, g) => a + f(g), 0),
    counts = {
      "": sum(g => g.calls),
      dead: sum(g => g.dead),
      failed: sum(g => g.failed),
      retried: sum(g => g.again),
      waited: sum(g => g.waited),
      cut: sum(g => g.cut),
    };
  return [
    SHOW.filter(([k]) => !k || k === show || counts[k]).map(([k, text]) =>
      chip(address({ show: k, step: "" }), text, k === show, counts[k]),
    ),
    t ? used(address({ t: "" }), `${dur(t[0])} to ${dur(t[1])}`, `from ${dur(t[0])} to ${dur(t[1])}`) : null,
    (details.maps.length > 1 ? details.maps.slice(0, 12) : []).map(m => {
      const here = asked.get("map") === String(m.number),
        ended = Object.values(m.counts).reduce((a, b) => a + b, 0);
      return chip(
        address({ map: here ? "" : m.number, step: "" }),
        `map ${m.number}: ${m.step}`,
        here,
        m.total == null || m.total === ended ? ended : `${n(ended)} of ${n(m.total)}`,
        { "data-key": `map ${m.number}`, title: `map ${m.number} over ${m.step}` },
      );
    }),
    h(
      "select.chip",
      { "aria-label": "How long the last attempt took", on: { change: e => to({ longer: e.target.value, step: "" }) } },
      [
        ["", "any duration ▾"],
        ["1000", "1 s or more"],
        ["10000", "10 s or more"],
        ["60000", "1 min or more"],
      ].map(([k, t]) => h("option", { value: k, selected: (asked.get("longer") || "") === k }, t)),
    ),
    chip(
      address({ sort: asked.get("sort") === "slowest" ? "" : "slowest", step: "" }),
      "Slowest first",
      asked.get("sort") === "slowest",
    ),
    field("Text in name or input of a step", "text in name or input", asked.get("q"), q => to({ q, step: "" })),
    exporting("steps", { run: details.run.id }, "the steps of this run"),
  ];
}
/** What the marks of the timeline mean; `again` is called when they have changed. */
export function legend(line, lapse, details, again) {
  return [
    [
      ["done-bar", "done"],
      ["fail-bar", "failed"],
      ["wait-bar", lapse?.bins ? "tried again" : "asked for fewer calls"],
      ["dead-bar", "dead letter"],
      ...(line.running ? [["run-bar", "running"]] : []),
      ...(line.cut ? [["stop", "broken off"]] : []),
      ...(line.shaded ? [["wait-soft", "breaker open"]] : []),
    ].map(([c, text]) => {
      const one = h("span", h("i"), text);
      one.firstChild.style.background = `var(--${c})`;
      if (c === "wait-soft") one.firstChild.style.border = "1px solid var(--wait-bar)";
      return one;
    }),
    line.waited || (details.groups.some(g => g.again) && !lapse?.bins)
      ? h(
          "button",
          {
            type: "button",
            class: "chip",
            "data-waits": true,
            "aria-pressed": String(line.waits),
            on: {
              click: () => {
                line.hideWaits();
                again();
              },
            },
          },
          "waits",
          h("kbd", "w"),
        )
      : null,
    line.zoomed ? null : h("span.faint", "drag to zoom"),
  ];
}
/** The buttons that change which part of the time is seen. */
export function zooming(line, to) {
  const step = (name, text, label, ...by) =>
    button(text, "", () => line.zoom(...by), label, { "data-zoom": name, title: label });
  return [
    line.zoomed
      ? [step("left", "‹", "Earlier", 1, -0.5), step("right", "›", "Later", 1, 0.5), step("out", "−", "Zoom out", 2)]
      : null,
    step("in", "+", "Zoom in", 0.5),
    line.zoomed ? button("Whole run", "", () => to({ t: "" }), null, { "data-zoom": "all" }) : null,
  ];
}
