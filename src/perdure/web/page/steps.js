// The steps of a run as a table of which only the rows in sight exist: any place of 100,000 is one request away.

import { get, seg } from "./api.js";
import { h, mark, patch, put, s } from "./dom.js";
import { bars, ticks } from "./lanes.js";
import { dur, fine, n } from "./words.js";

const ROW = 29,
  SEEN = 13, // rows at once
  PAGE = 100,
  FEW = 2000, // of which those that are no calls are passed over
  TALLEST = 8e6; // browsers do not take elements that are much taller

/** The bars of a call, as backgrounds of a single element: a page of rows has few nodes. */
function bar(x, a, b) {
  const part = t => ((Math.max(a, Math.min(b, t)) - a) / Math.max(b - a, 1e-6)) * 100;
  const layer = (from, to, height, tone) => {
    const w = part(to) - part(from);
    return `linear-gradient(var(--${tone}), var(--${tone})) ${w < 100 ? (part(from) / (100 - w)) * 100 : 0}% 50% / max(2px, ${w}%) ${height}px no-repeat`;
  };
  return [
    ...bars(x).map(([t, ms, tone]) => layer(t, t + ms, 8, tone)),
    ...(x.failures.length ? [layer(x.at, x.last_at, 1, "faint")] : []),
  ].join(", ");
}
/** @param {{run: string, choose: (row: Object) => void, failed: (error: Error) => void}} given */
export function steps({ run, choose, failed }) {
  const pad = h("div.pad", { role: "rowgroup" }),
    scale = h("span.vscale", { "aria-hidden": "true" });
  const box = h(
    "div.vt",
    { tabindex: 0, role: "grid", "aria-label": "Steps; arrow keys choose", "aria-colcount": 6 },
    pad,
  );
  const whole = h(
    "div",
    { "data-keep": true },
    h(
      "div.vhead",
      { "aria-hidden": "true" },
      ["", "", "Step", "Tries", "Took"].map(text => h("span", text)),
      scale,
    ),
    box,
  );
  let asked = {},
    held = null, // as it was asked for what is listed
    total = 0,
    pages = new Map(),
    listed = [],
    cursor = null,
    loading = false,
    chosen = null,
    control = new AbortController(),
    direct = true,
    loaded = false;
  const query = (wanted, after = null) =>
    get(`/runs/${seg(run)}/steps`, { ...wanted, after, limit: PAGE }, control.signal);

  function row(k) {
    return direct ? pages.get(Math.floor(k / PAGE))?.get(k + 1) : listed[k];
  }
  async function need(page) {
    if (pages.has(page)) return;
    pages.set(page, new Map());
    const mine = pages;
    try {
      const found = await query(held, page * PAGE);
      if (mine === pages) {
        pages.set(page, new Map(found.steps.map(x => [x.seq, x])));
        paint();
      }
    } catch (error) {
      mine.delete(page);
      failed(error);
    }
  }
  async function more() {
    if (loading || cursor == null) return;
    loading = true;
    const mine = held;
    try {
      const found = await query(held, cursor);
      if (mine === held) {
        listed = listed.concat(found.steps);
        cursor = found.next;
        total = listed.length;
      }
      loading = false;
      paint();
    } catch (error) {
      loading = false; // it is not painted: that would ask again at once
      failed(error);
    }
  }
  function paint() {
    const height = Math.min(total * ROW, TALLEST),
      k = (total * ROW) / Math.max(height, 1),
      seen = Math.min(Math.max(height, total ? ROW : 48), SEEN * ROW);
    pad.style.height = `${height}px`;
    box.style.height = `${seen + 1}px`;
    whole.style.setProperty(
      "--numbers",
      Math.max(total, ...listed.slice(-1).map(x => x.seq)) < 10000 ? "42px" : "58px",
    );
    const top = (box.scrollTop * k) / ROW,
      first = Math.max(0, Math.floor(top)),
      last = Math.min(total, Math.ceil(top + seen / ROW)),
      rows = [];
    for (let i = first; i < last; i++) rows.push([i, row(i)]);
    const inSight = rows.filter(([i, x]) => x && i >= Math.floor(top) && i < top + seen / ROW).map(([, x]) => x);
    const a = inSight.length ? Math.min(...inSight.map(x => x.at)) : 0,
      b = inSight.length ? Math.max(...inSight.map(x => x.last_at + x.ms)) : 1;
    patch(
      pad,
      rows.map(([i, x]) => {
        const here = x && chosen === x.seq;
        if (here) box.setAttribute("aria-activedescendant", `row-${i}`);
        const el = h(
          "div.row.vrow",
          {
            role: "row",
            id: `row-${i}`,
            "data-key": i,
            "aria-rowindex": i + 1,
            "aria-selected": String(Boolean(here)),
            on: { click: () => x && choose(x) },
          },
          (x
            ? [
                put(mark(x.status, 13), { role: "gridcell" }),
                ["faint num", `#${x.seq}`],
                ["clip", x.name, h("span.id", ` ${x.label == null ? "" : `${x.label} `}${x.inputs}`)],
                [x.attempts > 1 ? "num" : "num faint", String(x.attempts)],
                ["num nowrap", x.attempts ? dur(x.last_at + x.ms - x.at || 0.5) : "–"],
                ["lane", ""],
              ]
            : [
                "",
                ["faint num", direct ? `#${i + 1}` : ""],
                ["faint", direct && pages.get(Math.floor(i / PAGE))?.size ? "a note of the run, no call" : "…"],
                "",
                "",
                "",
              ]
          ).map(c =>
            Array.isArray(c)
              ? h(
                  "span",
                  { role: "gridcell", class: c[0], title: c[0] === "clip" ? `${c[1]}${c[2].textContent}` : null },
                  c.slice(1),
                )
              : c || h("span", { role: "gridcell" }),
          ),
        );
        if (x) /** @type {HTMLElement} */ (el.lastChild).style.background = bar(x, a, b);
        el.style.top = `${box.scrollTop + (i - top) * ROW}px`;
        return el;
      }),
      !total && loaded
        ? h(
            "p.empty",
            { role: "row" },
            h(
              "span",
              { role: "gridcell" },
              cursor // two seconds were over: it goes on behind them
                ? "No step so far."
                : Object.keys(held).length
                  ? "No step fits."
                  : "No step yet.",
            ),
          )
        : null,
    );
    const part = t => ((t - a) / Math.max(b - a, 1e-6)) * 100;
    const wide = scale.clientWidth;
    let free = 0; // behind the mark before
    patch(
      scale,
      s(
        "svg",
        { width: "100%", height: 16 },
        (inSight.length ? ticks(a, b, wide / 110) : [])
          .map((t, i, all) => ({ x: part(t), text: fine(t, i ? t - all[i - 1] : all[1] - t || b - a) }))
          .filter(({ x, text }) => {
            const at = (x / 100) * wide,
              end = at + 6 * text.length;
            return at >= free && end < wide && (free = end + 8);
          })
          .map(({ x, text }) => s("text", { x: `${x}%`, y: 12 }, text)),
      ),
    );
    if (direct) for (const page of new Set(rows.filter(([, x]) => !x).map(([i]) => Math.floor(i / PAGE)))) need(page);
    else if (last >= total - 20) more();
  }
  let frame = 0;
  box.addEventListener("scroll", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(paint);
  });
  new ResizeObserver(() => requestAnimationFrame(paint)).observe(box);
  const at = () => (direct ? chosen - 1 : listed.findIndex(x => x.seq === chosen));
  function reveal(i) {
    const k = (total * ROW) / Math.max(Math.min(total * ROW, TALLEST), 1),
      y = (i * ROW) / k;
    if (y < box.scrollTop || y + ROW > box.scrollTop + box.clientHeight)
      box.scrollTop = ROW * Math.round((y - box.clientHeight / 2) / ROW);
    paint();
  }
  box.addEventListener("keydown", e => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: SEEN - 1, PageUp: 1 - SEEN }[e.key];
    if (!step) return;
    e.preventDefault();
    const to = Math.max(0, Math.min(total - 1, (chosen == null ? -1 : at()) + step)),
      x = row(to);
    if (x) {
      choose(x);
      reveal(to);
    } else reveal(to);
  });
  return {
    box: whole,
    focus: () => box.focus(),
    /** Show what is asked for, and what there is of it. */
    async ask(wanted, force = false) {
      const now = JSON.stringify(wanted),
        same = now === JSON.stringify(held);
      if (now !== JSON.stringify(asked)) {
        control.abort();
        control = new AbortController();
        box.scrollTop = 0;
      }
      asked = wanted;
      if (same && !force && total) return;
      const found = await query(wanted);
      if (asked !== wanted) return;
      loaded = true;
      held = wanted;
      direct = !Object.keys(wanted).length && (found.total === found.last || found.last > FEW);
      if (direct) {
        const grown = same && force ? pages : new Map();
        for (const [page, known] of grown) if (known.size < PAGE) grown.delete(page);
        grown.set(0, new Map(found.steps.map(x => [x.seq, x])));
        pages = grown;
        total = found.last;
        listed = [];
        cursor = null;
      } else if (!same || listed.length <= PAGE) {
        listed = found.steps;
        cursor = found.next;
        total = listed.length;
      }
      paint();
    },
    choose(seq) {
      chosen = seq;
      if (seq != null && at() >= 0) reveal(at());
      else paint();
    },
    get count() {
      return n(total);
    },
  };
}
