// One run: facts, why it does not move, its calls in time, its steps, and what is known of the one that is chosen.

import { get, Problem, seg } from "./api.js";
import { bands } from "./bands.js";
import { h, NAMES, patch, sheet } from "./dom.js";
import { facts, fork, heading } from "./facts.js";
import { filters, legend, zooming } from "./filters.js";
import { inspector } from "./inspector.js";
import { log } from "./log.js";
import { steps } from "./steps.js";
import { timeline } from "./timeline.js";
import { address as addressed } from "./tool.js";
import { many } from "./words.js";

const ONE_BY_ONE = 2000; // calls that a timeline gives one by one, and no part of it has to be asked for

export function run({ main, given, query, go, title, failed }) {
  let asked = query,
    asOf,
    details = null,
    why = null,
    lapse = null,
    step = null,
    left = false;
  const head = h("div"),
    about = h("div.stack"),
    tools = h("div.tool"),
    marks = h("span.legend"),
    zoom = h("span.zoom"),
    count = h("span.count"),
    said = h("div.stack.said"),
    side = h("aside.card.insp", { "aria-label": "The step that is chosen" });
  const address = changed => addressed(`/runs/${seg(given)}`, asked, changed);
  const to = (changed, replace) => go(address(changed), replace);
  const line = timeline({
    choose: x => x.seq && to({ step: x.seq }, true),
    pick: t => to({ t: t ? t.join("-") : "" }),
  });
  const list = steps({ run: given, choose: x => to({ step: x.seq }, true), failed });
  const kids = bands(address => go(address), failed);
  const split = h("div.split.wide", sheet("Steps", tools, list.box), side);
  main.replaceChildren(
    head,
    h("div.stack", about, sheet("Timeline", h("header", h("h2", "Timeline"), count, marks, zoom), line.box, kids.box)),
    split,
    said,
  );
  side.hidden = true;
  for (const one of [side, list.box])
    one.addEventListener("keydown", e => e.key === "Escape" && asked.get("step") && to({ step: "" }, true));

  const range = () => (/^\d+-\d+$/.test(asked.get("t") || "") ? asked.get("t").split("-").map(Number) : null);
  function wanted() {
    const t = range(),
      all = {
        show: asked.get("show"),
        q: asked.get("q"),
        step: asked.get("name"),
        map: asked.get("map"),
        sort: asked.get("sort"),
        longer: asked.get("longer"),
        since: t?.[0],
        until: t?.[1],
      };
    return Object.fromEntries(Object.entries(all).filter(([, v]) => v != null && v !== ""));
  }
  function paint() {
    const r = details.run;
    title(`${r.workflow} ${NAMES[r.status] || r.status}`);
    patch(head, heading(details, go));
    patch(about, ...facts(details, why, lapse, line.lanes));
  }
  function paintTools() {
    patch(tools, filters(asked, details, range(), address, to));
    patch(marks, legend(line, lapse, details, paintTools));
    patch(zoom, zooming(line, to));
    count.textContent = lapse
      ? `${many(lapse.total + lapse.open.length + line.running, "call")}${line.lanes ? ` in ${many(line.lanes, "lane")}` : ""}`
      : "";
  }
  async function paintStep() {
    const seq = Number(asked.get("step")) || null;
    list.choose(seq);
    line.show(seq, range());
    if (!seq) {
      step = null;
      if (side.contains(document.activeElement)) list.focus();
      side.hidden = true;
      split.className = "split wide";
      return;
    }
    if (step?.seq !== seq) {
      let found;
      try {
        found = await Promise.all([
          get(`/runs/${seg(given)}/steps/${seq}`),
          get(`/runs/${seg(given)}/steps/${seq}/call`),
          get(`/runs/${seg(given)}/log`, { seq }),
        ]);
      } catch (error) {
        if (left || Number(asked.get("step")) !== seq) return;
        step = null;
        if (!(error instanceof Problem) || error.passes) throw error;
        patch(side, h("header", h("h2", `#${seq}`)), h("div.body", error.message));
        side.hidden = false;
        split.className = "split";
        return;
      }
      if (left || Number(asked.get("step")) !== seq) return;
      const [one, call, log] = found;
      step = one;
      side.scrollTop = 0;
      patch(
        side,
        inspector(one, call, details.run.id, log, () => to({ step: "" }, true), fork(details, go, one)),
      );
    }
    side.hidden = false;
    split.className = "split";
  }
  /** What all calls have logged and printed, when that is asked for. */
  async function paintLog() {
    const having = asked.get("log"),
      level = asked.get("level") || "",
      line = asked.get("line"),
      lines =
        having == null ? null : await get(`/runs/${seg(given)}/log`, { limit: 200, level, q: having, until: line });
    if (left || having !== asked.get("log") || level !== (asked.get("level") || "") || line !== asked.get("line"))
      return;
    const before = said.querySelector(".log"),
      newest = !before || before.scrollHeight - before.scrollTop - before.clientHeight < 30;
    patch(said, log(given, details.run.id, lines, asked, go));
    const box = said.querySelector(".log");
    if (box && newest) box.scrollTop = box.scrollHeight;
  }
  /** The calls in time; of a long run only the part that is chosen is asked for. */
  const lapsed = () => {
    const t = lapse && lapse.total > ONE_BY_ONE ? range() : null;
    asOf = t?.join();
    return get(`/runs/${seg(given)}/timeline`, {
      bins: Math.max(100, Math.min(1200, Math.round(main.clientWidth / 1.5))),
      since: t?.[0],
      until: t?.[1],
    });
  };
  async function zoomed() {
    if (!lapse || lapse.total <= ONE_BY_ONE || asOf === range()?.join()) return;
    const found = await lapsed();
    if (left || asOf !== range()?.join()) return;
    lapse = found;
    line.set(found, details);
    paintTools();
  }
  async function refresh() {
    const first = !details,
      listed = list.ask(wanted(), !first);
    listed.catch(() => {}); // what fails is thrown below
    const [d, t] = await Promise.all([get(`/runs/${seg(given)}`), lapsed()]);
    if (left) return;
    details = d;
    lapse = t;
    if (given !== d.run.id && d.run.id.startsWith(given)) {
      history.replaceState(null, "", location.pathname.replace(seg(given), seg(d.run.id)) + location.search);
      given = d.run.id;
    }
    line.set(t, d);
    line.show(null, range());
    kids.set(d, line);
    paint();
    paintTools();
    await listed;
    await Promise.all([paintStep(), paintLog(), zoomed()]);
    if (!["done", "cancelled", "damaged"].includes(d.run.status)) {
      const w = await get(`/runs/${seg(given)}/why`);
      if (!left) {
        why = w;
        paint();
      }
    }
    if (first && asked.get("log") != null && !left) said.scrollIntoView(asked.get("line") ? false : true);
  }
  return {
    refresh,
    get about() {
      return details?.run.id;
    },
    /** Is this change none of what is shown? What is around a run matters only while a process executes it. */
    skips: change =>
      details &&
      !change.runs.includes(details.run.id) &&
      !(change.around && ["running", "stopping"].includes(details.run.status)),
    async readdress(q) {
      asked = q;
      if (!details) return refresh(); // its steps were there before it was
      line.show(null, range());
      kids.draw();
      paintTools();
      await Promise.all([list.ask(wanted()), zoomed()]);
      await Promise.all([paintStep(), paintLog()]);
    },
    leave() {
      left = true;
    },
  };
}
