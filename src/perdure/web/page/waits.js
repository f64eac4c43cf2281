// What needs no process meanwhile: runs that wait, queues, and the workers that go on with them.

import { get, seg, server } from "./api.js";
import { answers } from "./deeds.js";
import { card, command, empty, h, heading, patch, pill } from "./dom.js";
import { table } from "./table.js";
import { ago, at, n, quoted, tail } from "./words.js";

export function waits({ main }) {
  async function refresh() {
    const { queues, runs, workers, more } = await get("/waits"),
      asking = runs.filter(r => r.asks.length),
      due = [...asking, ...runs.filter(r => !r.asks.length)];
    patch(
      main,
      heading(
        "Queues and waits",
        h("span", "runs that need no process meanwhile, and who goes on with them"),
        runs.length && !workers.length ? pill("waiting", "no worker lives") : null,
      ),
      h(
        "div.stack",
        card(
          "Runs that wait",
          runs.length ? `${n(runs.length)}${more.length ? "+" : ""}` : null,
          runs.length
            ? table(
                "Runs that wait",
                [
                  ["State", r => pill(r.status)],
                  [
                    "Run",
                    r =>
                      h(
                        "a",
                        { href: `/runs/${seg(r.run)}`, "data-row": true },
                        h("b", r.workflow),
                        " ",
                        h("span.id", tail(r.run, r.workflow)),
                      ),
                    "whole self",
                  ],
                  [
                    "For what",
                    r =>
                      r.asks.length
                        ? r.asks.map(a => h("div.asking", h("b.asked", a), h("span.acts", answers(r.run, a))))
                        : h("span.mute", r.text),
                    "wide self",
                  ],
                  ["Since", r => ago(r.since), "", r => at(r.since)],
                  ["At the latest", r => at(r.wake)],
                ],
                due,
                r => r.run,
              )
            : empty("No run is suspended or queued."),
          more.length
            ? empty(
                "Those that ask somebody are listed, and the newest of the others.",
                more.map(status => [" ", h("a.link", { href: `/runs?status=${status}` }, `All ${status} runs`)]),
              )
            : null,
          server.read_only && asking.length
            ? h(
                "div.pad14",
                asking
                  .slice(0, 5)
                  .map(r =>
                    h(
                      "div.way",
                      { "data-key": r.run },
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
            ? table(
                "Queues",
                [
                  ["Queue", q => h("b", q.name), "whole"],
                  ["Waiting", q => n(q.waiting), "r"],
                  ["Delayed", q => n(q.delayed), "r"],
                  ["Executing", q => n(q.executing), "r"],
                  ["At once", q => (q.concurrency == null ? "no limit" : n(q.concurrency)), "r"],
                  ["Of one key", q => (q.per_key == null ? "no limit" : n(q.per_key)), "r"],
                  ["Rate", q => q.rate || "no limit"],
                  ["State", q => (q.damaged ? pill("damaged") : q.paused ? pill("waiting", "paused") : "–")],
                ],
                queues,
                q => q.name,
              )
            : empty("No queue has been used. A run that is enqueued stands in one until a worker executes it."),
        ),
        card(
          "Workers",
          workers.length || null,
          workers.length
            ? table(
                "Workers",
                [
                  ["Pid", w => h("b", w.pid)],
                  ["Since", w => ago(w.since), "", w => at(w.since)],
                  ["Scripts", w => w.scripts.join(", "), "mono wide"],
                  ["Queues", w => w.queues.join(", ") || "all", "wide"],
                  ["Busy", w => `${w.busy} of ${w.slots}`, "r"],
                ],
                workers,
                w => String(w.pid),
              )
            : empty(
                "No worker lives: queued and due runs stay where they are. Start one: ",
                h("code", "perdure worker FILE"),
              ),
        ),
      ),
    );
  }
  return { refresh };
}
