// One run: facts, why it does not move, its calls in time, its steps, and what is known of the one that is chosen.

import { download, get, Problem, seg, server } from "./api.js";
import { bands } from "./bands.js";
import { answers, start } from "./deeds.js";
import { button, card, command, h, long, mark, NAMES, patch, pill, s, toast } from "./dom.js";
import { error, inspector, trace } from "./inspector.js";
import { steps } from "./steps.js";
import { timeline } from "./timeline.js";
import { ago, at, dur, many, n, quoted, size, took } from "./words.js";

const SHOW = [
  ["", "All"],
  ["dead", "Dead letters"],
  ["failed", "Failed"],
  ["retried", "Tried again"],
  ["waited", "Waited"],
  ["cut", "Broken off"],
];
const LEVELS = [
  ["", "any level ▾"],
  ["INFO", "INFO or graver"],
  ["WARNING", "WARNING or graver"],
  ["ERROR", "ERROR or graver"],
];
const KEY = [
  ["done-bar", "done"],
  ["fail-bar", "failed"],
  ["wait-bar", "asked for fewer calls"],
  ["dead-bar", "dead letter"],
];
const AGAIN = ["failed", "interrupted", "parked"],
  OVER = ["done", "dead", "cancelled", "superseded"];
const MANY = [
  ["done-bar", "done"],
  ["wait-bar", "tried again"],
  ["fail-bar", "failed"],
  ["dead-bar", "dead letter"],
];

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
    about = h("div", { class: "stack" }),
    tools = h("div", { class: "tool" }),
    legend = h("span", { class: "legend" }),
    zoom = h("span", { class: "zoom" }),
    count = h("span", { class: "count" }),
    said = h("div", { class: "stack said" }),
    side = h("aside", { class: "card insp", "aria-label": "The step that is chosen" });
  const address = changed => {
    const q = new URLSearchParams(asked);
    for (const [k, v] of Object.entries(changed))
      if (v != null && v !== "") q.set(k, v);
      else q.delete(k);
    return `/runs/${seg(given)}${q.size ? `?${q}` : ""}`;
  };
  const to = (changed, replace) => go(address(changed), replace);
  const line = timeline({
    choose: x => x.seq && to({ step: x.seq }, true),
    pick: t => to({ t: t ? t.join("-") : "" }),
  });
  const list = steps({ run: given, choose: x => to({ step: x.seq }, true), failed });
  const kids = bands(address => go(address), failed);
  const split = h(
    "div",
    { class: "split wide" },
    h("section", { class: "card", "aria-label": "Steps" }, tools, list.box),
    side,
  );
  main.replaceChildren(
    head,
    h(
      "div",
      { class: "stack" },
      about,
      h(
        "section",
        { class: "card", "aria-label": "Timeline" },
        h("header", {}, h("h2", {}, "Timeline"), count, legend, zoom),
        line.box,
        kids.box,
      ),
    ),
    split,
    said,
  );
  side.hidden = true;

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
    const d = details,
      r = d.run,
      under = r.status === "running" || r.status === "stopping";
    title(`${r.workflow} ${NAMES[r.status] || r.status}`);
    const inputs = d.inputs || "()";
    patch(
      head,
      h(
        "div",
        { class: "top" },
        h(
          "div",
          { class: "grow" },
          h(
            "nav",
            { class: "crumbs", "aria-label": "Breadcrumb" },
            h("a", { href: "/runs" }, "Runs"),
            "  /  ",
            h("a", { href: `/runs?workflow=${seg(r.workflow)}` }, r.workflow),
            d.parent ? ["  /  child of ", h("a", { href: `/runs/${seg(d.parent)}` }, d.parent)] : null,
          ),
          h("h1", { class: "two-lines", title: inputs }, r.workflow, h("span", { class: "mute" }, inputs)),
          h(
            "div",
            { class: "sub" },
            pill(r.status, r.status === "dead" ? `done, ${many(r.dead_letters, "dead letter")}` : NAMES[r.status]),
            h("span", { class: "id" }, r.id),
            h("span", { class: "faint clip", title: r.script }, r.script),
          ),
        ),
        server.read_only || d.parent ? null : h("div", { class: "acts" }, acts(r)),
      ),
    );
    const again = d.groups.reduce((a, g) => a + g.again, 0),
      busy =
        lapse?.calls?.length > 9 && line.lanes
          ? Math.round(
              (100 * lapse.calls.reduce((a, x) => a + x.ms + x.failures.reduce((b, f) => b + f.ms, 0), 0)) /
                (lapse.length * line.lanes),
            )
          : 0;
    const facts = [
      ["Took", under ? `${took((Date.now() - Date.parse(r.created)) / 1000)} so far` : took(r.seconds)],
      [
        "Steps",
        d.progress
          ? `${n(r.steps)} · ${n(d.progress.done)}${d.progress.total ? ` of ${n(d.progress.total)}` : ""} ${d.progress.note || ""}`
          : n(r.steps),
      ],
      again ? ["Tried again", n(again)] : null,
      busy ? ["Lanes at work", `${busy} %`] : null,
      r.dead_letters
        ? ["Dead letters", h("a", { class: "link", href: `/dead?run=${seg(r.id)}` }, n(r.dead_letters))]
        : null,
      ["Started", at(r.created)],
      [
        r.ended ? "Ended" : r.wake ? "Goes on" : "Last started",
        at(r.ended || r.wake || r.started),
        r.ended || r.wake || r.started !== r.created,
      ],
      d.process
        ? [
            d.process.alive ? "Process" : "Last process",
            `${d.process.pid} on ${d.process.host}${d.process.memory ? `, ${size(d.process.memory)}` : ""}${d.process.alive ? `, ${d.process.in_flight.length + d.process.more} in flight${d.process.waiting.length ? `, ${d.process.waiting.length} waiting` : ""}` : `, ${d.process.how || "died"}`}`,
          ]
        : null,
      r.forked_from
        ? ["Fork of", h("a", { class: "link id", href: `/runs/${seg(r.forked_from)}` }, r.forked_from)]
        : null,
      r.superseded_by
        ? ["Superseded by", h("a", { class: "link id", href: `/runs/${seg(r.superseded_by)}` }, r.superseded_by)]
        : null,
      d.result != null
        ? ["Result", h("span", { class: "mono clip fact", title: String(d.result) }, String(d.result))]
        : null,
    ].filter(x => x && x[2] !== false);
    const over = r.status === "done" || r.status === "cancelled";
    patch(
      about,
      h(
        "section",
        { class: "card", "aria-label": "Facts" },
        h(
          "div",
          { class: "facts" },
          facts.map(([k, v]) => h("dl", { "data-key": k }, h("dt", {}, k), h("dd", { class: "num" }, v))),
        ),
        why && !over
          ? h(
              "div",
              { class: "why" },
              mark(r.status, 15, true),
              h(
                "div",
                {},
                h(
                  "h2",
                  {},
                  under ? "What it is doing" : r.status === "dead" ? "What is left of it" : "Why it does not move",
                ),
                h(
                  "ul",
                  {},
                  why.reasons
                    .filter(x => !d.process?.in_flight.length || !x.startsWith("in flight: "))
                    .map(x => h("li", {}, long(x, 480))),
                ),
                why.asks.map(a =>
                  h(
                    "div",
                    { class: "asking", "data-key": a },
                    h("b", {}, a),
                    h("span", { class: "acts" }, answers(r.id, a)),
                  ),
                ),
                h(
                  "div",
                  { class: "ways" },
                  why.ways.map(w =>
                    h(
                      "div",
                      { class: "way", "data-key": w.command },
                      h("span", { class: "faint" }, w.purpose),
                      command(w.command),
                    ),
                  ),
                ),
              ),
            )
          : null,
      ),
      d.error
        ? h(
            "section",
            { class: "card", "aria-label": "Error" },
            h("div", { class: "pad14" }, error(d.error), trace(d.error.traceback)),
          )
        : null,
      d.process?.in_flight.length
        ? card(
            d.process.alive ? "In flight" : "In flight when it died",
            d.process.in_flight.length + d.process.more,
            h(
              "ul",
              { class: "plain" },
              d.process.in_flight
                .slice(0, 8)
                .map(f =>
                  h(
                    "li",
                    {},
                    h(
                      "span",
                      { class: "who" },
                      h("b", {}, f.step),
                      " ",
                      h("span", { class: "mono mute" }, f.inputs || f.label),
                    ),
                    f.total
                      ? h("progress", { max: f.total, value: String(f.done), "aria-label": `${f.step} is so far` })
                      : null,
                    h(
                      "span",
                      { class: "faint num" },
                      `${f.done == null ? "" : `${n(f.done)}${f.total ? ` of ${n(f.total)}` : ""} ${f.note} · `}attempt ${f.attempt}, since ${at(f.since)}`,
                    ),
                  ),
                ),
            ),
          )
        : null,
      d.process?.waiting.length
        ? card(
            "Waiting",
            d.process.waiting.length,
            h(
              "ul",
              { class: "plain" },
              d.process.waiting
                .slice(0, 8)
                .map(w =>
                  h(
                    "li",
                    { "data-key": w.step + w.key + w.n },
                    mark("waiting", 12, true),
                    h("b", {}, w.step || "the run itself"),
                    h("span", { class: "mono mute" }, w.inputs || w.label),
                    h(
                      "span",
                      { class: "faint" },
                      ` for ${w.reason}${w.until ? `, until ${at(w.until)}` : ""}${w.attempt > 1 ? `, before attempt ${w.attempt}` : ""}, since ${at(w.since)}`,
                    ),
                  ),
                ),
              d.process.waiting.length > 8
                ? h("li", { class: "faint" }, `and ${n(d.process.waiting.length - 8)} more`)
                : null,
            ),
          )
        : null,
      d.open.length
        ? card(
            "Tried, and not completed",
            d.open.length,
            h(
              "ul",
              { class: "plain" },
              d.open
                .slice(-8)
                .map(o =>
                  h(
                    "li",
                    {},
                    h("b", {}, o.name),
                    h("span", { class: "mono mute clip" }, o.inputs),
                    o.failures.length
                      ? h(
                          "span",
                          { class: "err" },
                          long(
                            `attempt ${o.failures.at(-1).number}, ${ago(o.failures.at(-1).started)}: ${o.failures.at(-1).error.type}: ${o.failures.at(-1).error.message.split("\n")[0]}`,
                          ),
                        )
                      : null,
                  ),
                ),
            ),
          )
        : null,
      d.signals.length
        ? card(
            "Signals that no wait has taken",
            d.signals.length,
            h(
              "ul",
              { class: "plain" },
              d.signals.map(x =>
                h(
                  "li",
                  {},
                  h("b", {}, x.event),
                  x.key ? ` ${x.key}` : "",
                  h("span", { class: "mono mute" }, ` ${x.value}`),
                  h("span", { class: "faint" }, ` ${ago(x.sent)}`),
                  x.aside ? h("span", { class: "err" }, x.aside) : null,
                ),
              ),
            ),
          )
        : null,
      Object.keys(d.published).length
        ? card(
            "Published",
            null,
            h(
              "ul",
              { class: "plain" },
              Object.entries(d.published).map(([k, v]) =>
                h("li", {}, h("b", {}, k), h("span", { class: "mono mute" }, ` ${v}`)),
              ),
            ),
          )
        : null,
      d.notes.length
        ? card(
            "Notes",
            null,
            h(
              "ul",
              { class: "plain" },
              d.notes.map(x => h("li", {}, x)),
            ),
          )
        : null,
    );
  }
  function acts(r) {
    const undone = details.groups.reduce((sum, g) => sum + (g.kind === "undone" ? g.calls : 0), 0),
      kept = r.steps - undone;
    return [
      AGAIN.includes(r.status)
        ? button("Resume…", "primary", () =>
            start(
              go,
              `Resume ${r.id}?`,
              `${r.script} is executed. ${kept ? `${many(kept, "completed step")} will not be executed again; what` : "What"} failed is tried again.${undone ? ` What was undone (${many(undone, "step")}) is executed again too, with another idempotency key.` : ""}`,
              `perdure resume ${quoted(r.id)}`,
              "Resume",
              "primary",
              `/runs/${seg(r.id)}/resume`,
              { script: r.script },
            ),
          )
        : null,
      OVER.includes(r.status)
        ? null
        : button("Cancel…", "danger", () =>
            start(
              go,
              `Cancel ${r.id}?`,
              `The run ends for good. What it has deferred, or is to undo, is executed by ${r.script}.`,
              `perdure cancel ${quoted(r.id)}`,
              "Cancel the run",
              "danger",
              `/runs/${seg(r.id)}/cancel`,
              { script: r.script },
            ),
          ),
    ];
  }
  const forks = one =>
    server.read_only || details.parent
      ? null
      : button("Fork from here…", "", () => {
          const r = details.run;
          start(
            go,
            `Fork ${r.id} from #${one.seq}?`,
            `A copy of the run is made. What was completed before #${one.seq} is kept; this call and all behind it are executed anew, by ${r.script}. The copy stands for the run from then on.`,
            `perdure fork ${quoted(r.id)} --from '#${one.seq}'`,
            "Fork",
            "primary",
            `/runs/${seg(r.id)}/fork`,
            { script: r.script, step: one.seq },
          );
        });
  function paintTools() {
    const t = range(),
      show = asked.get("show") || "";
    const sum = f => (details?.groups || []).reduce((a, g) => a + f(g), 0),
      counts = {
        "": sum(g => g.calls),
        dead: sum(g => g.dead),
        failed: sum(g => g.failed),
        retried: sum(g => g.again),
        waited: sum(g => g.waited),
        cut: sum(g => g.cut),
      };
    patch(
      tools,
      SHOW.filter(([k]) => !k || k === show || counts[k]).map(([k, text]) =>
        h(
          "a",
          { class: "chip", href: address({ show: k, step: "" }), "aria-current": k === show ? "true" : null },
          text,
          h("span", { class: "n" }, n(counts[k])),
        ),
      ),
      t
        ? h(
            "a",
            {
              class: "chip",
              href: address({ t: "" }),
              "aria-current": "true",
              "aria-label": `from ${dur(t[0])} to ${dur(t[1])}; remove this filter`,
            },
            `${dur(t[0])} to ${dur(t[1])}`,
            h("span", { "aria-hidden": "true" }, "×"),
          )
        : null,
      (details?.maps.length > 1 ? details.maps.slice(0, 12) : []).map(m => {
        const here = asked.get("map") === String(m.number),
          ended = Object.values(m.counts).reduce((a, b) => a + b, 0);
        return h(
          "a",
          {
            class: "chip",
            "data-key": `map ${m.number}`,
            href: address({ map: here ? "" : m.number, step: "" }),
            "aria-current": here ? "true" : null,
            title: `map ${m.number} over ${m.step}`,
          },
          `map ${m.number}: ${m.step}`,
          h("span", { class: "n" }, m.total == null || m.total === ended ? n(ended) : `${n(ended)} of ${n(m.total)}`),
        );
      }),
      h("span", { class: "grow" }),
      h(
        "select",
        {
          class: "chip",
          "aria-label": "How long the last attempt took",
          on: { change: e => to({ longer: e.target.value, step: "" }) },
        },
        [
          ["", "any duration ▾"],
          ["1000", "1 s or more"],
          ["10000", "10 s or more"],
          ["60000", "1 min or more"],
        ].map(([k, t]) => h("option", { value: k, selected: (asked.get("longer") || "") === k }, t)),
      ),
      h(
        "a",
        {
          class: "chip",
          href: address({ sort: asked.get("sort") === "slowest" ? "" : "slowest", step: "" }),
          "aria-current": asked.get("sort") === "slowest" ? "true" : null,
        },
        "Slowest first",
      ),
      h(
        "label",
        { class: "search" },
        mark("search", 12, true),
        h("input", {
          "data-search": true,
          "aria-label": "Text in name or input of a step",
          placeholder: "text in name or input",
          spellcheck: "false",
          value: asked.get("q") || "",
          on: { change: e => to({ q: e.target.value.trim(), step: "" }) },
        }),
        h("kbd", {}, "/"),
      ),
      button(
        "Export",
        "",
        () => download("steps", { run: details.run.id }).catch(e => toast(e.message)),
        "Export the steps of this run as JSON Lines",
      ),
    );
    patch(
      legend,
      [
        ...(lapse?.bins ? MANY : KEY),
        ...(line.running ? [["run-bar", "running"]] : []),
        ...(line.cut ? [["stop", "broken off"]] : []),
        ...(line.shaded ? [["wait-soft", "breaker open"]] : []),
      ].map(([c, text]) =>
        h(
          "span",
          {},
          s(
            "svg",
            { width: 14, height: 9, "aria-hidden": "true" },
            s("rect", {
              fill: `var(--${c})`,
              stroke: c === "wait-soft" ? "var(--wait-bar)" : null,
              x: 1,
              y: 1,
              width: 12,
              height: 7,
              rx: 1.5,
            }),
          ),
          text,
        ),
      ),
      line.waited || (details?.groups.some(g => g.again) && !lapse?.bins)
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
                  paintTools();
                },
              },
            },
            "waits",
            h("kbd", {}, "w"),
          )
        : null,
      line.zoomed ? null : h("span", { class: "faint" }, "drag to zoom"),
    );
    const step = (name, text, label, ...by) =>
      h(
        "button",
        {
          type: "button",
          class: "btn small",
          "data-zoom": name,
          "aria-label": label,
          title: label,
          on: { click: () => line.zoom(...by) },
        },
        text,
      );
    patch(
      zoom,
      line.zoomed
        ? [step("left", "‹", "Earlier", 1, -0.5), step("right", "›", "Later", 1, 0.5), step("out", "−", "Zoom out", 2)]
        : null,
      step("in", "+", "Zoom in", 0.5),
      line.zoomed
        ? h(
            "button",
            { type: "button", class: "btn small", "data-zoom": "all", on: { click: () => to({ t: "" }) } },
            "Whole run",
          )
        : null,
    );
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
        patch(side, h("header", {}, h("h2", {}, `#${seq}`)), h("div", { class: "body" }, error.message));
        side.hidden = false;
        split.className = "split";
        return;
      }
      if (left || Number(asked.get("step")) !== seq) return;
      const [one, call, log] = found;
      step = one;
      side.replaceChildren(...inspector(one, call, details.run.id, log, () => to({ step: "" }, true), forks(one)));
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
    const lineAddress = changed => {
        const q = new URLSearchParams(asked);
        for (const [k, v] of Object.entries(changed))
          if (k === "log" || v) q.set(k, v);
          else q.delete(k);
        return `/runs/${seg(given)}?${q}`;
      },
      show = changed => go(lineAddress(changed), true);
    const before = said.querySelector(".log"),
      newest = !before || before.scrollHeight - before.scrollTop - before.clientHeight < 30;
    patch(
      said,
      card(
        "Log",
        null,
        !lines
          ? h(
              "p",
              { class: "empty" },
              h(
                "button",
                { class: "btn small", type: "button", on: { click: () => show({ log: "" }) } },
                "Show the last lines",
              ),
            )
          : [
              h(
                "div",
                { class: "tool" },
                h(
                  "span",
                  { class: "mute" },
                  `${lines.earlier ? `the last ${n(lines.lines.length)} lines` : many(lines.lines.length, "line")}${line ? ` up to ${at(line)}` : ""}`,
                ),
                line ? h("a", { class: "link", href: lineAddress({ line: "" }) }, "Newest lines") : null,
                h("span", { class: "grow" }),
                h(
                  "select",
                  {
                    class: "chip",
                    "aria-label": "Level of the lines",
                    on: { change: e => show({ level: e.target.value }) },
                  },
                  LEVELS.map(([k, text]) => h("option", { value: k, selected: level === k }, text)),
                ),
                h(
                  "label",
                  { class: "search" },
                  mark("search", 12, true),
                  h("input", {
                    "aria-label": "Text in a line, its step or its logger",
                    placeholder: "text, step or logger",
                    spellcheck: "false",
                    value: having,
                    on: { change: e => show({ log: e.target.value.trim() }) },
                  }),
                ),
                ["Export", "Export all"]
                  .slice(0, level || having ? 2 : 1)
                  .map((text, i) =>
                    button(
                      text,
                      "",
                      () =>
                        download("log", {
                          run: details.run.id,
                          ...(i || !level ? {} : { level }),
                          ...(i || !having ? {} : { q: having }),
                        }).catch(e => toast(e.message)),
                      `Export ${i || !(level || having) ? "all" : "these"} lines as JSON Lines`,
                    ),
                  ),
              ),
              lines.lines.length
                ? h(
                    "pre",
                    {
                      class: "codex log",
                      tabindex: 0,
                      role: "region",
                      "aria-label": "what its attempts have logged and printed",
                    },
                    lines.lines.map(x =>
                      h(
                        "div",
                        {
                          class: `${x.level === "ERROR" || x.level === "CRITICAL" ? "err" : ""}${x.at === line ? " sel" : ""}`,
                        },
                        h(
                          "a",
                          { class: "faint", href: lineAddress({ line: x.at }), title: "The address of this line" },
                          at(x.at),
                        ),
                        ` ${x.step} ${x.level ? `${x.level} ${x.logger}: ` : ""}${x.text}`,
                      ),
                    ),
                  )
                : h(
                    "p",
                    { class: "empty" },
                    level || having ? "No line fits." : "Its attempts have logged and printed nothing that is kept.",
                  ),
            ],
      ),
    );
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
    if (given !== d.run.id && d.run.id.startsWith(given))
      history.replaceState(null, "", location.pathname.replace(seg(given), seg(d.run.id)) + location.search);
    line.set(t, d);
    line.show(null, range());
    kids.set(d, line);
    paint();
    paintTools();
    await listed;
    await Promise.all([paintStep(), paintLog(), zoomed()]);
    if (!["done", "cancelled"].includes(d.run.status)) {
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
