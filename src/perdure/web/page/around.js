// What is around the runs: services, schedules, queues and waits, alerts, doctor.

import { act, get, seg, server } from "./api.js";
import { answers } from "./deeds.js";
import { button, card, command, confirm, empty, h, long, mark, patch, pill } from "./dom.js";
import { ago, at, many, n, quoted, stands, tail, took } from "./words.js";

const heading = (title, ...sub) =>
  h(
    "div",
    { class: "top" },
    h("div", { class: "grow" }, h("h1", {}, title), sub.length ? h("div", { class: "sub" }, sub) : null),
  );
const wide = (label, heads, rows, right = [], most = -1) =>
  h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": `${label}, table` },
    h(
      "table",
      { class: label === "Runs that wait" ? "stacks" : null },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          heads.map((t, i) => h("th", { scope: "col", class: right.includes(i) ? "r" : null }, t)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map(([key, ...cells]) =>
          h(
            "tr",
            { "data-key": key },
            cells.map((c, i) => h("td", { class: right.includes(i) ? "r" : i === most ? "wide" : null }, c)),
          ),
        ),
      ),
    ),
  );
const runLink = id => (id ? h("a", { class: "link id", href: `/runs/${seg(id)}` }, id) : "–");

export function services({ main }) {
  async function refresh() {
    const { services: found, locks, openings } = await get("/services");
    patch(
      main,
      heading(
        "Services",
        h("span", {}, "circuit breakers, pauses, rate limits and locks, shared by all processes on this state file"),
      ),
      h(
        "div",
        { class: "stack" },
        card(
          "Services",
          found.length || null,
          found.length
            ? wide(
                "Services",
                [
                  "Name",
                  "State",
                  "Failures in a row",
                  "Opened",
                  "Paused until",
                  "Rate",
                  "Last error",
                  ...(server.read_only ? [] : ["Change"]),
                ],
                found.map(one => [
                  one.name,
                  h("b", {}, one.name),
                  one.state
                    ? pill(
                        one.state === "open" || one.state === "isolated"
                          ? "waiting"
                          : one.state === "half-open"
                            ? "stopping"
                            : "done",
                        stands(one),
                      )
                    : "–",
                  n(one.failures),
                  one.openings ? many(one.openings, "time") : "–",
                  at(one.paused_until),
                  one.rate || "–",
                  one.error ? h("code", {}, long(one.error, 160)) : "–",
                  ...(server.read_only ? [] : [h("span", { class: "acts" }, changes(one))]),
                ]),
                [2, 3],
                6,
              )
            : empty("No breaker has seen a failure, and no rate limit is in use."),
          found.some(x => x.state && x.state !== "closed")
            ? h(
                "div",
                { class: "pad14" },
                found
                  .filter(x => x.state && x.state !== "closed")
                  .map(x =>
                    h(
                      "div",
                      { class: "way", "data-key": x.name },
                      h("span", { class: "faint" }, `close ${x.name}`),
                      command(`perdure breaker reset ${quoted(x.name)}`),
                    ),
                  ),
              )
            : null,
        ),
        openings.length
          ? card(
              "Openings",
              openings.length,
              wide(
                "Openings of breakers",
                ["Breaker", "From", "To", "How long", "Why"],
                openings.map(o => [
                  o.name + o.began,
                  h("b", {}, o.name),
                  at(o.began),
                  o.ended ? at(o.ended) : pill("waiting", "not over"),
                  took(((o.ended ? Date.parse(o.ended) : Date.now()) - Date.parse(o.began)) / 1000),
                  o.how === "isolated" ? "isolated by a person" : h("code", {}, long(o.error, 160)),
                ]),
                [3],
                4,
              ),
            )
          : null,
        card(
          "Locks",
          locks.length || null,
          locks.length
            ? wide(
                "Locks",
                ["Name", "Held by", "Since", "Run"],
                locks.map(l => [l.name, h("b", {}, l.name), `pid ${l.pid} on ${l.host}`, at(l.since), runLink(l.run)]),
              )
            : empty("None is held."),
        ),
      ),
    );
  }
  return { refresh };
}
const changes = one => [
  (one.state && one.state !== "closed") || one.paused_until
    ? button(
        "Close…",
        "",
        () =>
          confirm(
            `Close breaker ${one.name}?`,
            "Calls of that service go through again at once, in all processes; a pause that it asked for ends.",
            `perdure breaker reset ${quoted(one.name)}`,
            "Close it",
            "primary",
            () => act("POST", `/services/${seg(one.name)}/reset`, {}),
          ),
        `Close breaker ${one.name}`,
      )
    : null,
  one.state !== "isolated"
    ? button(
        "Isolate…",
        "danger",
        () =>
          confirm(
            `Isolate ${one.name}?`,
            "No call goes through until it is reset: steps wait within their bound, or fail at once.",
            `perdure breaker isolate ${quoted(one.name)}`,
            "Isolate it",
            "danger",
            () => act("POST", `/services/${seg(one.name)}/isolate`, {}),
          ),
        `Isolate ${one.name}`,
      )
    : null,
];

export function schedules({ main }) {
  async function refresh() {
    const { schedules: found } = await get("/schedules");
    patch(
      main,
      heading("Schedules", h("span", {}, "what runs when, and what became of each tick")),
      found.length
        ? h(
            "div",
            { class: "stack" },
            found.map(one =>
              h(
                "section",
                { class: "card", "aria-label": one.name, "data-key": one.name },
                h(
                  "header",
                  {},
                  mark("clock", 14, true),
                  h("h2", {}, one.name),
                  h("span", { class: "mono mute clip" }, `${one.spec}  ${one.tz}`),
                  h("span", { class: "grow" }),
                  one.status === "active"
                    ? h(
                        "span",
                        { class: "mute" },
                        one.overdue
                          ? h("span", { class: "pill wait" }, `overdue for ${took(one.overdue)}`)
                          : `next ${at(one.next)}, ${ago(one.next)}`,
                      )
                    : pill("cancelled", one.status),
                ),
                h(
                  "div",
                  { class: "facts" },
                  [
                    ["Workflow", one.workflow],
                    ["If one still runs", one.overlap],
                    ["If ticks are missed", `${one.missed}${one.missed_ticks ? `; ${n(one.missed_ticks)} were` : ""}`],
                    ["Queue", one.queue || "–"],
                  ].map(([k, v]) => h("dl", {}, h("dt", {}, k), h("dd", {}, v))),
                ),
                one.latest.length
                  ? wide(
                      one.name,
                      ["Tick", "What became of it", "Run", "Took"],
                      one.latest.map(t => [
                        t.due,
                        at(t.due),
                        [
                          pill(t.status || (t.outcome === "skipped" ? "cancelled" : "queued"), t.status || t.outcome),
                          t.why ? h("span", { class: "mute" }, ` ${t.why}`) : null,
                        ],
                        runLink(t.run),
                        took(t.seconds),
                      ]),
                      [3],
                      2,
                    )
                  : empty("No tick of it has been due yet."),
                one.note ? h("p", { class: "empty" }, one.note) : null,
              ),
            ),
          )
        : h(
            "section",
            { class: "card" },
            empty(
              "No schedule is declared in this state file. A script declares one with ",
              h("code", {}, "@workflow(schedule=...)"),
              ", and a worker serves it: ",
              h("code", {}, "perdure worker FILE"),
            ),
          ),
    );
  }
  return { refresh };
}

export function waits({ main }) {
  async function refresh() {
    const { queues, runs, workers } = await get("/waits");
    patch(
      main,
      heading("Queues and waits", h("span", {}, "runs that need no process meanwhile, and who goes on with them")),
      h(
        "div",
        { class: "stack" },
        card(
          "Runs that wait",
          runs.length || null,
          runs.length
            ? wide(
                "Runs that wait",
                ["State", "Run", "For what", "Since", "Goes on at the latest"],
                runs.map(r => [
                  r.run,
                  pill(r.status),
                  h(
                    "a",
                    { href: `/runs/${seg(r.run)}`, "data-row": true },
                    h("b", {}, r.workflow),
                    " ",
                    h("span", { class: "id" }, tail(r.run, r.workflow)),
                  ),
                  [
                    r.asks.map(a =>
                      h(
                        "div",
                        { class: "asking" },
                        h("b", { class: "asked" }, a),
                        h("span", { class: "acts" }, answers(r.run, a)),
                      ),
                    ),
                    r.asks.length ? null : h("span", { class: "mute" }, r.text),
                  ],
                  ago(r.since),
                  r.wake ? at(r.wake) : "–",
                ]),
                [],
                2,
              )
            : empty("No run is suspended or queued."),
          server.read_only && runs.some(r => r.asks.length)
            ? h(
                "div",
                { class: "pad14" },
                runs
                  .filter(r => r.asks.length)
                  .slice(0, 5)
                  .map(r =>
                    h(
                      "div",
                      { class: "way", "data-key": r.run },
                      h("span", { class: "faint" }, "answer"),
                      command(`perdure approve ${quoted(r.run)}`),
                      command(`perdure reject ${quoted(r.run)}`),
                    ),
                  ),
              )
            : null,
        ),
        card(
          "Queues",
          queues.length || null,
          queues.length
            ? wide(
                "Queues",
                ["Queue", "Waiting", "Delayed", "Executing", "At once", "Of one key", "Rate", "State"],
                queues.map(q => [
                  q.name,
                  h("b", {}, q.name),
                  n(q.waiting),
                  n(q.delayed),
                  n(q.executing),
                  q.concurrency ?? "no limit",
                  q.per_key ?? "no limit",
                  q.rate || "no limit",
                  q.paused ? pill("waiting", "paused") : "–",
                ]),
                [1, 2, 3],
              )
            : empty("No queue has been used. A run that is enqueued stands in one until a worker executes it."),
        ),
        card(
          "Workers",
          workers.length || null,
          workers.length
            ? wide(
                "Workers",
                ["Pid", "Since", "Scripts", "Queues", "Busy"],
                workers.map(w => [
                  String(w.pid),
                  h("b", {}, w.pid),
                  ago(w.since),
                  h("span", { class: "mono" }, w.scripts.join(", ")),
                  w.queues.join(", ") || "all",
                  `${w.busy} of ${w.slots}`,
                ]),
                [4],
              )
            : empty(
                "No worker lives: queued and due runs stay where they are. Start one: ",
                h("code", {}, "perdure worker FILE"),
              ),
        ),
      ),
    );
  }
  return { refresh };
}

export function alerts({ main, again }) {
  async function refresh() {
    const found = await get("/alerts");
    patch(
      main,
      heading("Alerts", h("span", {}, "as the settings say where this page was started; a script may have others")),
      h(
        "div",
        { class: "stack" },
        card(
          "Targets",
          found.targets.length || null,
          found.targets.length
            ? h(
                "ul",
                { class: "plain" },
                found.targets.map(t => h("li", {}, t)),
              )
            : empty(
                "None: nobody hears of a failure or a death. Set PERDURE_ALERTS, or alerts in [tool.perdure] of pyproject.toml.",
              ),
          h(
            "div",
            { class: "pad14" },
            command("perdure alert test"),
            server.read_only || !found.targets.length
              ? null
              : h(
                  "div",
                  { class: "acts" },
                  button("Send a test…", "", () =>
                    confirm(
                      "Send a test alert?",
                      `To ${found.targets.join(", ")}, at once.`,
                      "perdure alert test",
                      "Send it",
                      "primary",
                      async () => {
                        const { tests } = await act("POST", "/alerts/test", {});
                        return tests
                          .map(t =>
                            t.delivered
                              ? `${t.target}: delivered in ${n(t.ms)} ms`
                              : `${t.target}: not delivered: ${t.what}`,
                          )
                          .join("; ");
                      },
                    ),
                  ),
                ),
          ),
        ),
        card(
          "Wait to be delivered",
          found.waiting.length || null,
          found.waiting.length
            ? wide(
                "Alerts that wait",
                ["Alert", "For", "Tries", "Last failure", "Next try"],
                found.waiting.map((a, i) => [
                  `${i} ${a.title}`,
                  a.title,
                  a.target,
                  n(a.tries),
                  a.error ? h("code", {}, long(a.error, 160)) : "–",
                  a.next && Date.parse(a.next) > Date.now() ? ago(a.next) : "due",
                ]),
                [2],
                0,
              )
            : empty("Nothing waits."),
          found.waiting.length
            ? h(
                "div",
                { class: "pad14" },
                command("perdure alert flush"),
                server.read_only
                  ? null
                  : h(
                      "div",
                      { class: "acts" },
                      button("Deliver now…", "", () =>
                        confirm(
                          "Deliver what waits now?",
                          "Also what failed a moment ago is tried again.",
                          "perdure alert flush",
                          "Deliver",
                          "primary",
                          async () => {
                            const done = await act("POST", "/alerts/flush", {});
                            await again();
                            return done.waiting
                              ? `${many(done.waiting, "alert waits", "alerts wait")} still`
                              : "delivered";
                          },
                        ),
                      ),
                    ),
              )
            : null,
          found.dropped || found.damaged
            ? h("p", { class: "empty" }, `${n(found.dropped)} dropped, ${n(found.damaged)} damaged`)
            : null,
        ),
      ),
    );
  }
  return { refresh };
}

export function doctor({ main }) {
  let found = null,
    failed = null,
    busy = false;
  const list = (title, checks) =>
    card(
      title,
      null,
      h(
        "ul",
        { class: "checks" },
        checks.map(c =>
          h(
            "li",
            { class: c.verdict, "data-key": c.name + c.finding },
            mark({ ok: "done", note: "waiting", warning: "interrupted", wrong: "failed" }[c.verdict] || "failed"),
            h("b", {}, c.name),
            h("div", {}, c.finding, c.hint ? h("p", { class: "mute" }, c.hint) : null),
            c.verdict === "ok" ? null : h("span", { class: "faint" }, c.verdict),
          ),
        ),
      ),
    );
  function paint() {
    patch(
      main,
      h(
        "div",
        { class: "top" },
        h(
          "div",
          { class: "grow" },
          h("h1", {}, "Doctor"),
          h(
            "div",
            { class: "sub" },
            h(
              "span",
              { role: "status" },
              busy
                ? "reads every row of the state file ..."
                : found
                  ? found.ok
                    ? "nothing is wrong"
                    : "something is wrong"
                  : "",
            ),
          ),
        ),
        h(
          "button",
          { class: "btn", type: "button", disabled: busy, on: { click: examine } },
          mark("pulse", 12, true),
          "Look again",
        ),
      ),
      failed ? h("section", { class: "card pad14", role: "alert" }, failed) : null,
      found
        ? h("div", { class: "stack" }, list("State file", found.state), list("Installation", found.installation))
        : null,
    );
  }
  async function examine() {
    if (busy) return;
    busy = true;
    paint();
    try {
      found = await get("/doctor");
      failed = null;
    } catch (error) {
      failed = error.message;
    }
    busy = false;
    paint();
  }
  return {
    async refresh() {
      if (!found && !busy) await examine();
    },
  }; // not at each change: it reads all there is
}
