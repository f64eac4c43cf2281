// Child runs as bands below the timeline of their parent, on its scale; one that is opened shows its own calls in place.

import { get, seg } from "./api.js";
import { barTone, find, h, mark, patch } from "./dom.js";
import { timeline } from "./timeline.js";
import { few } from "./tool.js";
import { many, n, took } from "./words.js";

const SHOWN = 8;

/** @param {(address: string) => void} go @param {(error: Error) => void} failed */
export function bands(go, failed) {
  const box = h("div.bands"),
    opened = new Map();
  let runs = [],
    began = 0,
    part = null,
    more = 0;
  /** A band that is opened: its timeline, and the bands of its own child runs. */
  function open(run) {
    const line = timeline({
      choose: x => x.seq && go(`/runs/${seg(run.id)}?step=${x.seq}`),
      pick: t => t && go(`/runs/${seg(run.id)}?t=${t.join("-")}`),
    });
    const inner = bands(go, failed),
      said = h("p.mute", { role: "status" }, "…"),
      parts = [said, line.box, inner.box];
    async function look() {
      try {
        const [d, t] = await Promise.all([get(`/runs/${seg(run.id)}`), get(`/runs/${seg(run.id)}/timeline`)]);
        line.set(t, d);
        inner.set(d, line);
        patch(
          said,
          h("span", many(t.total + t.open.length, "call")),
          h("span", took(d.run.seconds)),
          h("a.link", { href: `/runs/${seg(run.id)}` }, "Open the run"),
          d.error ? h("span.err.clip", `${d.error.type}: ${d.error.message}`) : null,
        );
        one.over = Boolean(d.run.ended);
      } catch (error) {
        said.textContent = error.message;
        failed(error); // and looked for again with what is around it
      }
    }
    const one = { parts, look, over: false };
    return one;
  }
  function toggle(run) {
    if (opened.has(run.id)) opened.delete(run.id);
    else {
      const one = open(run);
      opened.set(run.id, one);
      one.look();
    }
    paint();
  }
  function band(run) {
    const from = Date.parse(run.created) - began,
      inside = x => Math.max(0, Math.min(100, 100 * x)),
      a = Math.min(inside(part(from)), 99.7),
      b = Math.max(inside(part(from + 1000 * (run.seconds ?? 0))), a + 0.3),
      here = opened.get(run.id);
    const bar = h("i.on"),
      text = h(
        "span.what.clip",
        mark(run.status, 12),
        h("b", run.workflow),
        h("span.mono.mute.clip", run.inputs),
        h("span.faint.nowrap", took(run.seconds)),
      );
    bar.style.background = `var(--${barTone(run.status) || "done-bar"})`;
    bar.style.left = `${a}%`;
    bar.style.width = `${b - a}%`;
    if (b < 66) text.style.left = `calc(${b}% + 8px)`;
    else if (a > 34) {
      text.style.right = `calc(${100 - a}% + 8px)`;
    } else text.style.left = `calc(${a}% + 6px)`;
    return h(
      "div",
      { "data-key": run.id },
      h(
        "button",
        {
          type: "button",
          class: "band",
          "aria-expanded": String(Boolean(here)),
          "aria-label": `child run ${run.id}, ${run.status}`,
          on: { click: () => toggle(run) },
        },
        h("span.turn", { "aria-hidden": "true" }),
        bar,
        text,
      ),
      // What is in it is put there once: it changes by itself, and what has the focus in it keeps that.
      here ? h("div.inner", { "data-keep": true }) : null,
    );
  }
  function paint() {
    const [shown, rest] = few("child runs", runs, (_, i) => i < SHOWN, paint);
    patch(
      box,
      runs.length
        ? h("h3", many(runs.length + more, "child run"), more ? h("span.faint", ` the last ${n(runs.length)}`) : null)
        : null,
      shown.map(band),
      rest,
    );
    for (const one of box.children) {
      const place = find(":scope > .inner", one);
      if (place && !place.firstChild) place.append(...opened.get(/** @type {HTMLElement} */ (one).dataset.key).parts);
    }
  }
  return {
    box,
    /** The scale is another one. */
    draw() {
      if (runs.length) paint();
    },
    set(details, line) {
      runs = details.children;
      more = details.earlier_children;
      began = Date.parse(details.run.created);
      part = line.part;
      for (const run of runs) {
        const one = opened.get(run.id);
        if (one && !one.over) one.look();
      }
      paint();
    },
  };
}
