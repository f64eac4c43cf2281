// What is known of a run as a whole: what it is called, what may be done with it, its facts, and why it does not move.

import { seg, server } from "./api.js";
import { answers, start } from "./deeds.js";
import { button, card, coded, command, h, fold, listing, mark, NAMES, pill, sheet, pairs } from "./dom.js";
import { error, trace } from "./inspector.js";
import { ago, at, first, many, n, quoted, size, took } from "./words.js";

const AGAIN = ["failed", "interrupted", "parked"],
  OVER = ["done", "dead", "cancelled", "superseded"];

/** What stands above a run. */
export function heading(d, go) {
  const r = d.run,
    inputs = d.inputs || "()";
  return h(
    "div.top",
    h(
      "div.grow",
      h(
        "nav.crumbs",
        { "aria-label": "Breadcrumb" },
        h("a", { href: "/runs" }, "Runs"),
        "  /  ",
        h("a", { href: `/runs?workflow=${seg(r.workflow)}` }, r.workflow),
        d.parent ? ["  /  child of ", h("a", { href: `/runs/${seg(d.parent)}` }, d.parent)] : null,
      ),
      h("h1.two-lines", { title: inputs }, r.workflow, h("span.mute", inputs)),
      h(
        "div.sub",
        pill(r.status, r.status === "dead" ? `done, ${many(r.dead_letters, "dead letter")}` : NAMES[r.status]),
        h("span.id", r.id),
        h("span.faint.clip", { title: r.script }, r.script),
      ),
    ),
    server.read_only || d.parent ? null : h("div.acts", acts(d, go)),
  );
}
/** @param {Object} d a run @param {Object|null} why why it does not move @param {Object|null} lapse its calls in time @param {number} lanes in how many they are drawn */
export function facts(d, why, lapse, lanes) {
  const r = d.run,
    under = r.status === "running" || r.status === "stopping";
  const again = d.groups.reduce((a, g) => a + g.again, 0),
    busy =
      lapse?.calls?.length > 9 && lanes
        ? Math.round(
            (100 * lapse.calls.reduce((a, x) => a + x.ms + x.failures.reduce((b, f) => b + f.ms, 0), 0)) /
              (lapse.length * lanes),
          )
        : 0;
  const known = [
    ["Took", took(r.seconds) + (under ? " so far" : "")],
    [
      "Steps",
      d.progress
        ? `${n(r.steps)} · ${n(d.progress.done)}${d.progress.total ? ` of ${n(d.progress.total)}` : ""} ${d.progress.note || ""}`
        : n(r.steps),
    ],
    again ? ["Tried again", n(again)] : null,
    busy ? ["Lanes at work", `${busy} %`] : null,
    r.dead_letters ? ["Dead letters", h("a.link", { href: `/dead?run=${seg(r.id)}` }, n(r.dead_letters))] : null,
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
    r.forked_from ? ["Fork of", h("a.link.id", { href: `/runs/${seg(r.forked_from)}` }, r.forked_from)] : null,
    r.superseded_by
      ? ["Superseded by", h("a.link.id", { href: `/runs/${seg(r.superseded_by)}` }, r.superseded_by)]
      : null,
    d.result != null ? ["Result", h("span.mono.clip.fact", { title: String(d.result) }, String(d.result))] : null,
    d.damaged.length ? ["Damaged", h("a.link", { href: "/doctor" }, d.damaged.join(", "))] : null,
    d.command_line ? ["Command line", h("span.mono.clip.fact", { title: d.command_line }, d.command_line)] : null,
  ].filter(x => x && x[2] !== false);
  const over = r.status === "done" || r.status === "cancelled",
    flying = d.process?.in_flight || [],
    waiting = d.process?.waiting || [];
  return [
    sheet(
      "Facts",
      pairs(known),
      why && !over
        ? h(
            "div.why",
            mark(r.status, 15, true),
            h(
              "div",
              h("h2", under ? "What it is doing" : r.status === "dead" ? "What is left of it" : "Why it does not move"),
              h(
                "ul",
                why.reasons
                  .filter(x => !flying.length || !x.startsWith("in flight: "))
                  .map(x => h("li", x.length > 480 ? fold(x, 480) : coded(x))),
              ),
              why.asks.map(a => h("div.asking", { "data-key": a }, h("b", a), h("span.acts", answers(r.id, a)))),
              h(
                "div.ways",
                why.ways.map(w =>
                  h("div.way", { "data-key": w.command }, h("span.faint", w.purpose), command(w.command)),
                ),
              ),
            ),
          )
        : null,
    ),
    d.error ? sheet("Error", h("div.pad14", error(d.error), trace(d.error.traceback))) : null,
    listing(
      "Not undone",
      null,
      [d.unknown, d.kept].filter(Boolean).map(x => h("li", mark("interrupted", 12, true), h("span", coded(x)))),
    ),
    listing(
      d.process?.alive ? "In flight" : "In flight when it died",
      flying.length + d.process?.more,
      flying
        .slice(0, 8)
        .map(f =>
          h(
            "li",
            h("span.who", h("b", f.step), " ", h("span.mono.mute", f.inputs || f.label)),
            f.total
              ? h("progress", { max: f.total, value: String(f.done), "aria-label": `${f.step} is so far` })
              : null,
            h(
              "span.faint.num",
              `${f.done == null ? "" : `${n(f.done)}${f.total ? ` of ${n(f.total)}` : ""} ${f.note} · `}attempt ${f.attempt}, since ${at(f.since)}`,
            ),
          ),
        ),
    ),
    listing("Waiting", waiting.length, [
      ...waiting
        .slice(0, 8)
        .map(w =>
          h(
            "li",
            { "data-key": w.step + w.key + w.n },
            mark("waiting", 12, true),
            h("b", w.step || "the run itself"),
            h("span.mono.mute", w.inputs || w.label),
            h(
              "span.faint",
              ` for ${w.reason}${w.until ? `, until ${at(w.until)}` : ""}${w.attempt > 1 ? `, before attempt ${w.attempt}` : ""}, since ${at(w.since)}`,
            ),
          ),
        ),
      ...(waiting.length > 8 ? [h("li.faint", `and ${n(waiting.length - 8)} more`)] : []),
    ]),
    listing(
      "Tried, and not completed",
      d.open.length,
      d.open.slice(-8).map(o => {
        const last = o.failures.at(-1);
        return h(
          "li",
          h("b", o.name),
          h("span.mono.mute.clip", o.inputs),
          last
            ? h(
                "span.err",
                fold(`attempt ${last.number}, ${ago(last.started)}: ${last.error.type}: ${first(last.error.message)}`),
              )
            : null,
        );
      }),
    ),
    listing(
      "Signals that no wait has taken",
      d.signals.length,
      d.signals.map(x =>
        h(
          "li",
          h("b", x.event),
          x.key ? ` ${x.key}` : "",
          h("span.mono.mute", ` ${x.value}`),
          h("span.faint", ` ${ago(x.sent)}`),
          x.aside ? h("span.err", x.aside) : null,
        ),
      ),
    ),
    listing(
      "Published",
      null,
      Object.entries(d.published).map(([k, v]) => h("li", h("b", k), h("span.mono.mute", ` ${v}`))),
    ),
    listing(
      "Notes",
      null,
      d.notes.map(x => h("li", x)),
    ),
  ];
}
function acts(d, go) {
  const r = d.run,
    undone = d.groups.reduce((sum, g) => sum + (g.kind === "undone" ? g.calls : 0), 0),
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
/** The button that forks the run from a call. */
export const fork = (d, go, one) =>
  server.read_only || d.parent
    ? null
    : button("Fork from here…", "", () => {
        const r = d.run;
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
