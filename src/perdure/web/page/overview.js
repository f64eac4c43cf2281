// The first page: what needs somebody, how the workflows are doing, what is around them.

import { get, seg } from "./api.js";
import { barTone, card, command, empty, fold, h, heading, mark, patch, put } from "./dom.js";
import { ago, at, dur, many, n, size, stands, tail, took } from "./words.js";
import { runTable, STAND } from "./runs.js";
import { ranked, tone } from "./services.js";
import { table, unseen } from "./table.js";
import { few } from "./tool.js";

/** How runs stand, in the order of the filters of runs. */
const STANDS = new Map(STAND.map(([k, text]) => [k, text.toLowerCase()]));
const ORDER = [...STANDS.keys()];
const TO = { damaged: "/doctor", letters: "/dead", service: "/services", alerts: "/alerts", nobody: "/alerts" };
const REST = { failed: "/runs?status=failed", interrupted: "/runs?status=interrupted", approval: "/waits" };
const FIRST = 5; // of each list are shown; of what needs somebody the first of each kind, too
/**
 * A mark for each of the last runs: how high is how long it took. They are backgrounds of a single element, which is the
 * link of the run below the pointer.
 */
function strip({ name, runs }) {
  const shown = [...runs].reverse(),
    first = 224 - 7 * shown.length,
    most = Math.max(...shown.map(r => Math.log1p(r.seconds ?? 0.1)), 0.1),
    well = shown.filter(r => r.status === "done").length,
    bars = [];
  const bar = (i, base, tall, tone) =>
    bars.push(`linear-gradient(var(--${tone}) 0 0) ${first + 7 * i}px ${base - tall}px / 5px ${tall}px no-repeat`);
  for (let i = shown.length - 32; i < 0; i++) bar(i, 26, 2, "line");
  shown.forEach((r, i) => {
    const tone = barTone(r.status);
    bar(i, 23, Math.max(4, (20 * Math.log1p(r.seconds ?? 0.1)) / most), tone || "line");
    if (r.status !== "done") bar(i, 26, 2, tone || "faint");
  });
  const meet = e => {
    const r = shown[Math.floor((e.clientX - e.currentTarget.getBoundingClientRect().x - first) / 7)];
    put(e.currentTarget, r && { href: `/runs/${seg(r.id)}`, title: `${r.id} · ${r.status} · ${took(r.seconds)}` });
  };
  const link = h("a.strip", {
    href: `/runs?workflow=${seg(name)}`,
    tabindex: -1,
    "aria-label": `the last ${many(shown.length, "run")}: ${well} done, ${shown.length - well} otherwise`,
    on: { pointermove: meet, pointerdown: meet },
  });
  link.style.background = bars.join(", ");
  return link;
}
/** `open`: of which the commands were looked at; those of others are not made. */
function need(one, open) {
  const key = `${one.kind} ${one.run || one.service || ""}`,
    ways = () => one.ways.map(w => h("div.way", h("span.faint", w.purpose), command(w.command))),
    to = one.run ? `/runs/${seg(one.run)}` : TO[one.kind];
  return h(
    "div.need",
    { "data-key": key },
    mark(one.kind === "alerts" || one.kind === "nobody" ? "bell" : one.kind, 15),
    h(
      "h3",
      one.title,
      one.run ? h("span.id", tail(one.run, one.title.split("(")[0])) : null,
      one.since ? h("span.age", { title: at(one.since) }, ago(one.since)) : null,
    ),
    one.detail ? h("p.mono", fold(one.detail, 320)) : null,
    one.text ? h("p", one.text) : null,
    to
      ? h(
          "a.btn.small.primary",
          { href: to, "data-row": true, "aria-label": `Open: ${one.title}` },
          one.kind === "letters" ? "Review" : "Open",
        )
      : null,
    one.ways.length
      ? h(
          "details",
          {
            on: {
              toggle: e => {
                if (!open.has(key)) put(e.target, null, ways());
                open.add(key);
              },
            },
          },
          h("summary", many(one.ways.length, "command")),
          open.has(key) ? ways() : null,
        )
      : null,
  );
}
export function overview({ main, note }) {
  const open = new Set();
  async function refresh() {
    const found = await get("/overview");
    note(found);
    paint(found);
  }
  function paint(found) {
    const again = () => paint(found),
      { needs } = found,
      kinds = needs.map(one => one.kind),
      [urgent, all] = few("needs", needs, (one, i) => i < FIRST || kinds.indexOf(one.kind) === i, again),
      [flows, allFlows] = few("workflows", found.workflows, (_, i) => i < FIRST, again);
    const last = needs.findLast(one => one.run)?.kind, // those that are not listed need less
      rest = REST[last] || "/runs?status=suspended";
    const stand = Object.entries(found.totals).sort((a, b) => ORDER.indexOf(a[0]) - ORDER.indexOf(b[0]));
    patch(
      main,
      heading(
        "Overview",
        stand.length
          ? stand.map(([k, v]) =>
              h(
                "a",
                { href: `/runs?status=${k}` },
                `${n(v)}${found.more_totals.includes(k) ? "+" : ""} ${STANDS.get(k) || k}`,
              ),
            )
          : h("span", "no run yet"),
      ),
      h(
        "div.cols",
        h(
          "div.stack",
          card(
            "Needs you",
            needs.length + found.more_needs || null,
            needs.length ? urgent.map(one => need(one, open)) : empty("Nothing needs you."),
            all || found.more_needs
              ? h(
                  "p.empty.acts",
                  all,
                  found.more_needs ? h("a.link", { href: rest }, `and ${many(found.more_needs, "more run")}`) : null,
                )
              : null,
          ),
          found.workflows.length
            ? card(
                "Workflows",
                n(found.workflows.length),
                table(
                  "Workflows",
                  [
                    [unseen("State"), w => mark(w.runs[0].status)],
                    [
                      "Workflow",
                      w =>
                        h(
                          "a",
                          {
                            href: `/runs?workflow=${seg(w.name)}`,
                            "data-row": true,
                            class: "two-lines",
                            title: w.name,
                          },
                          w.name,
                        ),
                      "whole",
                    ],
                    ["Last runs; height is duration", strip],
                    ["Median", w => took(w.median), "r"],
                    ["p95", w => took(w.p95), "r"],
                    ["Ended well", w => (w.ended ? `${w.done} of ${w.ended}` : "–"), "r"],
                    ["Last success", w => ago(w.last_success), "r mute", w => at(w.last_success)],
                    ["Last", w => ago(w.runs[0].created), "r mute", w => at(w.runs[0].created)],
                  ],
                  flows,
                  w => w.name,
                  { kind: "flows", some: false },
                ),
                allFlows && empty(allFlows),
              )
            : null,
          card(
            "Runs",
            null,
            found.runs.length
              ? runTable(found.runs.slice(0, FIRST))
              : empty("No run has been started yet. Start one: ", h("code", "perdure run FILE")),
            found.more_runs || found.runs[FIRST] ? empty(h("a.link", { href: "/runs" }, "All runs")) : null,
          ),
        ),
        h(
          "div.stack",
          beside("Services", ranked(found.services), service, "/services", "No breaker has seen a failure."),
          beside("Processes", found.processes, working, "/runs?status=running", "None executes a run."),
          found.locks.length ? beside("Locks", found.locks, locked, "/services") : null,
          card(
            "Alerts",
            null,
            h(
              "div.kv",
              h(
                "div",
                mark("bell", 14, true),
                found.targets.length ? h("span", found.targets.join(", ")) : h("span.mute", "No target is set."),
                h("span"),
                found.undelivered || found.targets.length
                  ? h(
                      "span.note",
                      found.undelivered
                        ? h(
                            "a.link",
                            { href: "/alerts" },
                            `${many(found.undelivered, "alert waits", "alerts wait")} to be delivered`,
                          )
                        : "Nothing waits to be delivered.",
                    )
                  : null,
              ),
            ),
          ),
        ),
      ),
    );
  }
  return { refresh };
}
/** A card at the side: the first few of what there is, and where all of it stands. */
const beside = (title, found, line, all, none = "") =>
  card(
    title,
    found.length > FIRST ? n(found.length) : null,
    h(
      "div.kv",
      found.length ? found.slice(0, FIRST).map(line) : h("div.mute.one", none),
      found.length > FIRST ? h("div.one", h("a.link", { href: all }, `All ${title.toLowerCase()}`)) : null,
    ),
  );
const locked = one =>
  h(
    "div",
    { "data-key": one.name },
    mark("key", 14, true),
    h("b.clip", { title: one.name }, one.name),
    h("span.mute.num", `pid ${one.pid}`),
    h("span.note", `since ${at(one.since)}`),
  );
const working = one =>
  h(
    "div",
    { "data-key": one.run },
    mark("running"),
    h("span.clip", h("b", one.pid), h("span.mute", ` on ${one.host}`)),
    h("span.mute.num", size(one.memory)),
    h(
      "span.note",
      h("a", { href: `/runs/${seg(one.run)}` }, one.workflow),
      ` · for ${dur(Date.now() - Date.parse(one.since))} · ${n(one.in_flight)} in flight`,
    ),
  );
function service(one) {
  const notes = [
    one.failures ? `${many(one.failures, "failure")} in a row` : null,
    one.openings ? `opened ${many(one.openings, "time")}` : null,
    one.paused_until ? `asked for a pause until ${at(one.paused_until)}` : null,
  ].filter(Boolean);
  return h(
    "div",
    { "data-key": one.name },
    mark(tone(one)),
    h("b.clip", { title: one.name }, one.name),
    one.state
      ? h("span", { class: `pill ${tone(one) === "waiting" ? "wait" : ""}` }, stands(one))
      : h("span.mute.num", one.rate || "–"),
    notes.length || one.error
      ? h("span.note", notes.join(" · "), one.error ? h("code.two-lines", { title: one.error }, one.error) : null)
      : null,
  );
}
