// The first page: what needs somebody, how the workflows are doing, what is around them.

import { get, seg } from "./api.js";
import { card, command, empty, h, long, mark, patch, s } from "./dom.js";
import { ago, at, dur, many, n, size, stands, tail, took } from "./words.js";
import { table } from "./runs.js";

const STAND = [
    "running",
    "stopping",
    "failed",
    "interrupted",
    "parked",
    "suspended",
    "queued",
    "dead",
    "cancelled",
    "done",
  ],
  STANDS = { dead: "with dead letters" };
const TO = { letters: "/dead", service: "/services", alerts: "/alerts", nobody: "/alerts" };
const BAR = {
  done: "done-bar",
  dead: "dead-bar",
  failed: "fail-bar",
  parked: "fail-bar",
  interrupted: "stop",
  running: "run-bar",
  suspended: "wait-bar",
  queued: "wait-bar",
};

/** A mark for each of the last runs: how high is how long it took. */
function strip(runs, width = 224, height = 26) {
  const shown = [...runs].reverse(),
    w = width / 32,
    most = Math.max(...shown.map(r => Math.log1p(r.seconds ?? 0.1)), 0.1),
    well = shown.filter(r => r.status === "done").length;
  return s(
    "svg",
    {
      class: "strip",
      width,
      height,
      role: "group",
      "aria-label": `the last ${many(shown.length, "run")}: ${well} done, ${shown.length - well} otherwise`,
    },
    shown.length < 32
      ? s("path", {
          d: `M0 ${height - 2}H${width - shown.length * w - 2}`,
          stroke: "var(--line)",
          "stroke-width": 2,
          "stroke-dasharray": `${w - 2} 2`,
        })
      : null,
    shown.map((r, i) => {
      const tall = Math.max(4, (20 * Math.log1p(r.seconds ?? 0.1)) / most),
        x = width - (shown.length - i) * w;
      return s(
        "a",
        { href: `/runs/${seg(r.id)}`, tabindex: -1, "aria-label": `${r.id} ${r.status}` },
        s(
          "rect",
          { x, y: height - 3 - tall, width: w - 2, height: tall, rx: 1.5, fill: `var(--${BAR[r.status] || "line"})` },
          s("title", {}, `${r.id} · ${r.status} · ${took(r.seconds)}`),
        ),
        r.status === "done"
          ? null
          : s("rect", { x, y: height - 2, width: w - 2, height: 2, fill: `var(--${BAR[r.status] || "faint"})` }),
      );
    }),
  );
}
function need(one) {
  const to = one.run ? `/runs/${seg(one.run)}` : TO[one.kind];
  return h(
    "div",
    { class: "need", "data-key": `${one.kind} ${one.run || one.service || ""}` },
    mark(one.kind === "alerts" || one.kind === "nobody" ? "bell" : one.kind, 15),
    h(
      "h3",
      {},
      one.title,
      one.run ? h("span", { class: "id" }, tail(one.run, one.title.split("(")[0])) : null,
      one.since ? h("span", { class: "age", title: at(one.since) }, ago(one.since)) : null,
    ),
    one.detail ? h("p", {}, h("code", {}, long(one.detail))) : null,
    one.text ? h("p", {}, one.text) : null,
    h(
      "div",
      { class: "acts" },
      to
        ? h(
            "a",
            { class: "btn small primary", href: to, "data-row": true, "aria-label": `Open: ${one.title}` },
            one.kind === "letters" ? "Review" : "Open",
          )
        : null,
    ),
    one.ways.length
      ? h(
          "details",
          {},
          h("summary", {}, many(one.ways.length, "command")),
          one.ways.map(w => h("div", { class: "way" }, h("span", { class: "faint" }, w.purpose), command(w.command))),
        )
      : null,
  );
}
export function overview({ main, note }) {
  async function refresh() {
    const found = await get("/overview");
    note(found);
    const stand = Object.entries(found.totals).sort((a, b) => STAND.indexOf(a[0]) - STAND.indexOf(b[0]));
    patch(
      main,
      h(
        "div",
        { class: "top" },
        h(
          "div",
          { class: "grow" },
          h("h1", {}, "Overview"),
          h(
            "div",
            { class: "sub" },
            stand.length
              ? stand.map(([k, v]) =>
                  h(
                    "a",
                    { href: `/runs?status=${k}` },
                    `${n(v)}${found.more_totals.includes(k) ? "+" : ""} ${STANDS[k] || k}`,
                  ),
                )
              : h("span", {}, "no run yet"),
          ),
        ),
      ),
      h(
        "div",
        { class: "cols" },
        h(
          "div",
          { class: "stack" },
          card(
            "Needs you",
            found.needs.length + found.more_needs || null,
            found.needs.length ? found.needs.map(need) : empty("Nothing needs you."),
            found.more_needs
              ? h(
                  "p",
                  { class: "empty" },
                  h("a", { href: "/runs?status=failed" }, `and ${many(found.more_needs, "more run")}`),
                )
              : null,
          ),
          found.workflows.length
            ? card(
                "Workflows",
                n(found.workflows.length),
                h(
                  "div",
                  { class: "scroll", tabindex: 0, role: "region", "aria-label": "Workflows, table" },
                  h(
                    "table",
                    { class: "flows" },
                    h(
                      "thead",
                      {},
                      h(
                        "tr",
                        {},
                        [
                          "State",
                          "Workflow",
                          "Last runs; height is duration",
                          "Median",
                          "p95",
                          "Ended well",
                          "Last success",
                          "Last",
                        ].map((t, i) =>
                          h("th", { class: i > 2 ? "r" : null, scope: "col" }, i ? t : h("span", { class: "sr" }, t)),
                        ),
                      ),
                    ),
                    h(
                      "tbody",
                      {},
                      found.workflows.map(w =>
                        h(
                          "tr",
                          { "data-key": w.name },
                          h("td", {}, mark(w.runs[0].status)),
                          h(
                            "td",
                            {},
                            h("a", { href: `/runs?workflow=${seg(w.name)}`, "data-row": true }, h("b", {}, w.name)),
                          ),
                          h("td", {}, strip(w.runs)),
                          h("td", { class: "r" }, took(w.median)),
                          h("td", { class: "r" }, took(w.p95)),
                          h("td", { class: "r" }, w.ended ? `${w.done} of ${w.ended}` : "–"),
                          h("td", { class: "r mute", title: at(w.last_success) }, ago(w.last_success)),
                          h("td", { class: "r mute", title: at(w.runs[0].created) }, ago(w.runs[0].created)),
                        ),
                      ),
                    ),
                  ),
                ),
              )
            : null,
          card(
            "Runs",
            null,
            found.runs.length
              ? table(found.runs)
              : empty("No run has been started yet. Start one: ", h("code", {}, "perdure run FILE")),
            found.more_runs ? h("p", { class: "empty" }, h("a", { class: "link", href: "/runs" }, "All runs")) : null,
          ),
        ),
        h(
          "div",
          { class: "stack" },
          card(
            "Services",
            null,
            h(
              "div",
              { class: "kv" },
              found.services.length
                ? found.services.map(service)
                : h("div", { class: "mute one" }, "No breaker has seen a failure."),
            ),
          ),
          card(
            "Processes",
            null,
            h(
              "div",
              { class: "kv" },
              found.processes.length
                ? found.processes.map(p =>
                    h(
                      "div",
                      { "data-key": p.run },
                      mark("running"),
                      h("span", {}, h("b", {}, p.pid), h("span", { class: "mute" }, ` on ${p.host}`)),
                      h("span", { class: "mute num" }, size(p.memory)),
                      h(
                        "span",
                        { class: "note" },
                        h("a", { href: `/runs/${seg(p.run)}` }, p.workflow),
                        ` · for ${dur(Date.now() - Date.parse(p.since))} · ${p.in_flight} in flight`,
                      ),
                    ),
                  )
                : h("div", { class: "mute one" }, "None executes a run."),
            ),
          ),
          found.locks.length
            ? card(
                "Locks",
                null,
                h(
                  "div",
                  { class: "kv" },
                  found.locks.map(l =>
                    h(
                      "div",
                      {},
                      mark("key", 14, true),
                      h("b", { class: "clip" }, l.name),
                      h("span", { class: "mute num" }, `pid ${l.pid}`),
                      h("span", { class: "note" }, `since ${at(l.since)}`),
                    ),
                  ),
                ),
              )
            : null,
          card(
            "Alerts",
            null,
            h(
              "div",
              { class: "kv" },
              h(
                "div",
                {},
                mark("bell", 14, true),
                found.targets.length
                  ? h("span", {}, found.targets.join(", "))
                  : h("span", { class: "mute" }, "No target is set."),
                h("span"),
                found.undelivered || found.targets.length
                  ? h(
                      "span",
                      { class: "note" },
                      found.undelivered
                        ? h(
                            "a",
                            { class: "link", href: "/alerts" },
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
export function service(one) {
  const tone =
    one.state === "open" || one.state === "isolated"
      ? "waiting"
      : one.state === "half-open"
        ? "stopping"
        : one.paused_until
          ? "waiting"
          : "done";
  const notes = [
    one.failures ? `${many(one.failures, "failure")} in a row` : null,
    one.openings ? `opened ${many(one.openings, "time")}` : null,
    one.paused_until ? `asked for a pause until ${at(one.paused_until)}` : null,
  ].filter(Boolean);
  return h(
    "div",
    { "data-key": one.name },
    mark(tone),
    h("b", { class: "clip" }, one.name),
    one.state
      ? h("span", { class: `pill ${tone === "waiting" ? "wait" : ""}` }, stands(one))
      : h("span", { class: "mute num" }, one.rate || "–"),
    notes.length || one.error
      ? h(
          "span",
          { class: "note" },
          notes.join(" · "),
          one.error ? h("code", { class: "block" }, long(one.error, 160)) : null,
        )
      : null,
  );
}
