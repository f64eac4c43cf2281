// How the calls of a run lie in time: a bar for each attempt, or columns where there are many.

import { h } from "./dom.js";
import { bars, ends, FOLD, idle, lanes, LEAST, merged, ticks, unrecorded } from "./lanes.js";
import { dur, fine, many, n } from "./words.js";

const LANE = 15,
  FOOT = 20,
  MAP = 22,
  MAP_HIGH = 12; // pixels; MAP is the room of the whole run above a part of it

/** What draws on a canvas in the colours of the stylesheet. */
function pen(g) {
  const css = getComputedStyle(document.documentElement),
    v = tone => css.getPropertyValue(`--${tone}`).trim(),
    paint = (tone, ...box) => {
      g.fillStyle = v(tone);
      g.fillRect(...box);
    },
    round = (tone, ...box) => {
      g.fillStyle = v(tone);
      g.beginPath();
      g.roundRect(...box);
      g.fill();
    };
  return { v, paint, round };
}

/** A canvas with the calls; `choose` gets the call that is clicked, `pick` the time that is dragged over, which is then shown alone (null: all). */
export function timeline({ choose, pick }) {
  const canvas = h("canvas.brush", { role: "img", "aria-label": "" }),
    hint = h("div.tip", { "aria-hidden": "true" }),
    box = h("div.tl", { "data-keep": true }, canvas, hint);
  let data = null,
    laid = null,
    waits = true,
    sessions = [],
    shades = [],
    HEAD = 6,
    range = null,
    flying = [],
    chosen = null,
    from = null,
    over = null,
    moved = null,
    whole = [];
  const width = () => Math.max(canvas.clientWidth, 200),
    view = () => range || [0, data.length],
    top = () => (range ? MAP : 0);
  // Times that are folded take the same few pixels each; the rest is to scale.
  let idles = [],
    folds = [];
  const fold = () => {
    const [a, b] = view();
    folds = idles
      .map(([p, q]) => [Math.max(p, a), Math.min(q, b)])
      .filter(([p, q]) => q - p > Math.max(LEAST, (b - a) / 6));
  };
  const rate = () =>
    (width() - 2 - folds.length * FOLD) /
    Math.max(view()[1] - view()[0] - folds.reduce((sum, [a, b]) => sum + b - a, 0), 1e-6);
  const X = t => {
    let x = 1,
      last = view()[0];
    const r = rate();
    for (const [a, b] of folds) {
      if (t <= a) break;
      x += (a - last) * r;
      if (t < b) return x + ((t - a) / (b - a)) * FOLD;
      x += FOLD;
      last = b;
    }
    return x + (t - last) * r;
  };
  const T = at => {
    let x = 1,
      last = view()[0];
    const r = rate();
    for (const [a, b] of folds) {
      const here = x + (a - last) * r;
      if (at <= here) break;
      if (at < here + FOLD) return a + ((at - here) / FOLD) * (b - a);
      x = here + FOLD;
      last = b;
    }
    return Math.max(view()[0], Math.min(view()[1], last + (at - x) / r));
  };
  /** A time within the run, in whole milliseconds; null if that is nearly all of it. */
  function fitted([a, b]) {
    const long = Math.max(2, b - a),
      first = Math.max(0, Math.min(a, data.length - long));
    return long > 0.98 * data.length ? null : [Math.floor(first), Math.ceil(first + long)];
  }
  const rowHeight = () => Math.max(3, Math.min(LANE, 240 / laid.count));
  function draw() {
    if (!data) return;
    const w = width(),
      r = devicePixelRatio || 1;
    const H = laid ? rowHeight() : 0,
      height = HEAD + FOOT + (laid ? laid.count * H : 112),
      base = height - FOOT,
      [first, last] = view();
    canvas.style.height = `${top() + height}px`;
    canvas.width = w * r;
    canvas.height = (top() + height) * r;
    const g = canvas.getContext("2d"),
      { v, paint, round } = pen(g);
    g.scale(r, r);
    if (range) map(g, w);
    g.translate(0, top());
    fold();
    g.font = "10.5px system-ui, sans-serif";
    g.textBaseline = "alphabetic";
    const scale = ticks(first, first + (w - 2 - folds.length * FOLD) / rate(), Math.max(3, w / 110)),
      step = scale[1] - scale[0] || last - first;
    for (const t of folds.length
      ? ticks(first, last, (last - first) / step).filter(t => !folds.some(([a, b]) => a < t && t < b))
      : scale) {
      paint("line2", Math.round(X(t)), HEAD, 1, base - HEAD);
      g.fillStyle = v("faint");
      const text = t ? fine(t, step) : "0";
      if (X(t) + 4 + g.measureText(text).width < w) g.fillText(text, X(t) + 4, height - 6);
    }
    for (const o of shades) {
      paint("wait-soft", X(o.from), HEAD, Math.max(1.5, X(o.to) - X(o.from)), base - HEAD);
      paint("wait-bar", X(o.from), base - 2, Math.max(1.5, X(o.to) - X(o.from)), 2);
    }
    for (const [a, b] of folds) {
      const x = X(a);
      paint("hover", x, HEAD, FOLD, base - HEAD);
      g.fillStyle = v("mute");
      g.textAlign = "center";
      g.fillText(
        `⋯ ${dur(b - a)
          .split(" ")
          .slice(0, 2)
          .join(" ")}`,
        x + FOLD / 2,
        (HEAD + base) / 2 + 3,
        FOLD - 4,
      );
      g.textAlign = "start";
    }
    if (HEAD > 6)
      sessions.forEach((p, i) => {
        const a = X(p.from),
          b = Math.max(X(p.to), a + 3),
          text = Math.max(a, 0);
        if (i) {
          paint("stop-soft", X(sessions[i - 1].to), 0, Math.max(0, a - X(sessions[i - 1].to)), base);
        }
        round("line2", a, 3, b - a, 16, 4);
        g.save();
        g.beginPath();
        g.rect(text, 0, b - text - 4, 22);
        g.clip();
        g.fillStyle = v("mute");
        if (b - text > 60) g.fillText(p.text, text + 7, 14.5); // a letter or two says nothing
        g.restore();
        if (p.died) {
          paint("stop", b - 0.8, 0, 1.6, base);
        }
      });
    if (laid)
      for (const { x, lane, since } of laid.found) {
        if (Math.max(ends(x), since) < first || Math.min(x.at, since) > last) continue;
        const y = HEAD + lane * H + 1,
          hh = Math.max(2, H - 3);
        if (waits && (x.failures.length || x.made != null)) {
          g.globalAlpha = 0.6;
          paint(
            x.made != null || x.failures.some(f => f.throttled) ? "wait-bar" : "faint",
            X(since),
            y + hh / 2 - 0.5,
            X(x.failures.length ? ends(x) : x.at) - X(since),
            1.2,
          );
          g.globalAlpha = 1;
        }
        for (const [a, ms, tone] of bars(x)) {
          round(tone, X(a), y, Math.max(1.6, X(a + ms) - X(a) - 0.6), hh, Math.min(1.5, hh / 2));
        }
        if (x.seq && x.seq === chosen) {
          g.strokeStyle = v("accent");
          g.lineWidth = 2;
          g.strokeRect(X(x.at) - 1.5, y - 1, Math.max(5, X(ends(x)) - X(x.at) + 3), hh + 2);
        }
      }
    else {
      const b = data.bins,
        k = b.done.length,
        all = b.done.map((d, i) => d + b.failed[i] + b.dead[i]),
        most = Math.max(...all, 1),
        span = (data.until - data.since) / k;
      for (let i = 0; i < k; i++) {
        if (!all[i]) continue;
        const tall = ((base - HEAD - 2) * all[i]) / most,
          x = Math.round(X(data.since + i * span)),
          part = c => Math.max(2, (tall * c) / all[i]),
          col = Math.max(Math.round(X(data.since + (i + 1) * span)) - x, 1);
        paint("done-bar", x, base - Math.max(tall, 1), col, Math.max(tall, 1));
        for (const [tone, count] of [
          ["wait-bar", b.retried[i]],
          ["fail-bar", b.failed[i]],
          ["dead-bar", b.dead[i]],
        ])
          if (count) paint(tone, x, base - part(count), col, part(count));
      }
    }
    if (over) {
      const [a, b] = over.map(X),
        tall = base - HEAD + 3;
      g.globalAlpha = 0.1;
      paint("accent", a, HEAD - 3, b - a, tall);
      g.globalAlpha = 0.6;
      for (const x of [a, b]) paint("accent", x, HEAD - 3, 1, tall);
      g.globalAlpha = 1;
    }
  }
  /** The whole run in small, with the part that is shown. */
  function map(g, w) {
    const { v, paint, round } = pen(g),
      at = t => 1 + (t / data.length) * (w - 2),
      [a, b] = range.map(at);
    round("line2", 0, 1, w, MAP_HIGH, 3);
    for (const [p, q] of whole) paint("done-bar", at(p), 4, Math.max(1, at(q) - at(p)), MAP_HIGH - 6);
    g.globalAlpha = 0.18;
    paint("accent", a, 1, Math.max(b - a, 2), MAP_HIGH);
    g.globalAlpha = 1;
    g.strokeStyle = v("accent");
    g.lineWidth = 1.5;
    g.beginPath();
    g.roundRect(a, 1, Math.max(b - a, 3), MAP_HIGH, 3);
    g.stroke();
  }
  const place = e => {
    const b = canvas.getBoundingClientRect();
    return [e.clientX - b.left, e.clientY - b.top - top()];
  };
  const inMap = x => {
    const long = range[1] - range[0],
      middle = (x / width()) * data.length;
    return fitted([middle - long / 2, middle + long / 2]);
  };
  function under(e) {
    if (!laid) return null;
    const [x, y] = place(e),
      lane = Math.floor((y - HEAD) / rowHeight());
    let best = null,
      near = 6;
    for (const one of laid.found)
      if (one.lane === lane) {
        const a = X(one.x.at),
          b = X(ends(one.x)),
          d = x < a ? a - x : x > b ? x - b : 0;
        if (d < near) {
          near = d;
          best = one.x;
        }
      }
    return best;
  }
  canvas.addEventListener("pointerdown", e => {
    if (e.button || !data) return;
    const [x, y] = place(e);
    canvas.setPointerCapture(e.pointerId);
    if (y < -4) {
      moved = range;
      range = inMap(x);
      draw();
    } else from = x;
  });
  canvas.addEventListener("pointermove", e => {
    if (moved) {
      range = inMap(place(e)[0]);
      draw();
      return;
    }
    if (from != null) {
      const [x] = place(e);
      over = Math.abs(x - from) > 4 ? [T(Math.min(x, from)), T(Math.max(x, from))] : null;
      draw();
      return;
    }
    const one = under(e),
      t = T(place(e)[0]),
      shade = one ? null : shades.find(o => o.from <= t && t <= o.to);
    hint.textContent = shade
      ? shade.text
      : one
        ? `${one.name} ${one.inputs} · ${dur(ends(one) - one.at)}${one.attempts > 1 ? ` · ${one.attempts} attempts` : ""}${one.error ? ` · ${one.error}` : ""}`
        : "";
  });
  canvas.addEventListener("pointerleave", () => {
    hint.textContent = "";
  });
  canvas.addEventListener("pointerup", e => {
    if (moved) {
      moved = null;
      pick(range);
      return;
    }
    if (from == null) return;
    const picked = over,
      one = picked ? null : under(e);
    from = over = null;
    if (picked) pick(fitted(picked));
    else if (one) choose(one);
    draw();
  });
  canvas.addEventListener("dblclick", e => {
    if (range && !under(e)) pick(null);
  });
  new ResizeObserver(() => requestAnimationFrame(draw)).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {
    box,
    get lanes() {
      return laid?.count;
    },
    /** Calls that are executed now, and were not counted by the timeline. */
    get running() {
      return flying.filter(f => !f.failures.length).length;
    },
    get shaded() {
      return shades.length > 0;
    },
    get cut() {
      return data?.cut.length > 0;
    },
    get waited() {
      return Boolean(laid?.found.some(({ x }) => x.made != null));
    },
    get waits() {
      return waits;
    },
    /** Show waits as thin lines, or do not. */
    hideWaits() {
      waits = !waits;
      draw();
    },
    get zoomed() {
      return Boolean(range);
    },
    /** Show a part that is so many times as long, around what is chosen or the middle; or move by so much of it. */
    zoom(factor, by = 0) {
      if (!data) return;
      const [a, b] = view(),
        one = laid?.found.find(({ x }) => x.seq === chosen && chosen != null)?.x,
        centre = !by && one && one.at >= a && one.at <= b ? one.at : (a + b) / 2 + by * (b - a),
        half = ((b - a) * factor) / 2;
      pick(fitted([centre - half, centre + half]));
    },
    /** Where a time is, as a part of the width. */
    part: t => X(t) / width(),
    set(found, { sessions: processes, process }) {
      const began = Date.parse(found.began);
      sessions = processes.map(p => ({
        from: Date.parse(p.began) - began,
        to: p.ended ? Date.parse(p.ended) - began : found.length,
        text: `process ${p.pid} · ${p.ended ? `${dur(Date.parse(p.ended) - Date.parse(p.began))} · ` : ""}${p.cause || p.outcome}`,
        died: p.outcome === "died" || p.outcome === "interrupted",
      }));
      shades = found.openings.map(o => ({
        from: Math.max(Date.parse(o.began) - began, 0),
        to: o.ended ? Math.min(Date.parse(o.ended) - began, found.length) : found.length,
        text: `breaker ${o.name} was ${o.how}${o.error ? `: ${o.error}` : ""}`,
      }));
      HEAD = sessions.length > 1 ? 26 : 6;
      data = found;
      const { flying: now, rest } = unrecorded(found, process, began);
      flying = now;
      laid = found.calls ? lanes([...found.calls, ...rest]) : null;
      const busy = laid
        ? laid.found.map(({ x }) => [x.at, ends(x)])
        : found.bins.done.flatMap((d, i) =>
            d + found.bins.failed[i] + found.bins.dead[i]
              ? [[(i * found.length) / found.bins.done.length, ((i + 1) * found.length) / found.bins.done.length]]
              : [],
          );
      const all = !(found.since > 0 || found.until < found.length);
      if (all) {
        idles = idle(busy, found.length);
        whole = merged(busy, found.length / 1000);
      }

      const calls = found.calls || [],
        b = found.bins,
        sum = a => a.reduce((x, y) => x + y, 0);
      const again = b ? sum(b.retried) : calls.filter(x => x.attempts > 1).length,
        gone = b ? sum(b.dead) : calls.filter(x => x.status === "dead").length;
      canvas.setAttribute(
        "aria-label",
        `${all ? "" : `${dur(found.since)} to ${dur(found.until)} of `}${many(found.total, "call")}${laid ? ` in ${many(laid.count, "lane")}` : ""} over ${dur(found.length)}; ${n(again)} needed more than one attempt, ${n(gone)} are dead letters${shades.length ? `; ${many(shades.length, "breaker opening")}` : ""}. The table below says the same.`,
      );
      draw();
    },
    show(seq, time) {
      chosen = seq;
      if (!moved) range = time;
      draw();
    },
  };
}
