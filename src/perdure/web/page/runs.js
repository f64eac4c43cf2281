// The runs, newest first: filters in the address, further ones by cursor.

import { get, seg } from "./api.js";
import { empty, h, heading, mark, patch, sheet } from "./dom.js";
import { table, unseen } from "./table.js";
import { address, chip, exporting, field, used } from "./tool.js";
import { ago, at, many, n, tail, took } from "./words.js";

export const STAND = [
  ["", "All"],
  ["running", "Running"],
  ["failed", "Failed"],
  ["interrupted", "Interrupted"],
  ["suspended", "Suspended"],
  ["queued", "Queued"],
  ["dead", "With dead letters"],
  ["parked", "Parked"],
  ["damaged", "Damaged"],
  ["cancelled", "Cancelled"],
  ["done", "Done"],
];

const LISTED = 20; // at once; an address leads on
/** What a run says, beside its dead letters. */
const says = run =>
  run.waits ||
  run.error ||
  (run.status === "interrupted"
    ? "no process executes it"
    : run.status === "superseded"
      ? "a fork goes on in its place"
      : "");
/** The runs as a table. */
export const runTable = lines =>
  table(
    "Runs",
    [
      [unseen("State"), run => mark(run.status)],
      [
        "Run",
        run =>
          h(
            "a",
            {
              href: `/runs/${seg(run.id)}`,
              "data-row": true,
              class: "clip name mono",
              title: `${run.workflow}${run.inputs}`,
            },
            h("b", run.workflow),
            run.inputs,
          ),
      ],
      [
        "What it says",
        run => [
          run.dead_letters ? h("span.deadsay", many(run.dead_letters, "dead letter"), says(run) ? " · " : "") : null,
          says(run),
          run.last_step && run.status !== "done" && ((!says(run) && !run.dead_letters) || run.status === "interrupted")
            ? `${says(run) ? "; " : ""}last step ${run.last_step}`
            : null,
        ],
        "clip mute",
        says,
      ],
      ["Steps", run => n(run.steps), "r"],
      ["Took", run => took(run.seconds), "r"],
      ["Started", run => ago(run.created), "r mute", run => at(run.created)],
      ["Id", run => tail(run.id, run.workflow), "id clip", run => run.id],
    ],
    lines,
    run => run.id,
    { kind: "runs", some: false },
  );

export function runs({ main, query, go }) {
  let asked = query;
  const to = changed => address("/runs", asked, { after: "", ...changed });
  async function refresh() {
    const mine = asked,
      status = asked.get("status") || "",
      workflow = asked.get("workflow"),
      children = asked.get("children") ? "true" : null,
      after = asked.get("after"),
      [{ counts, more }, { runs: found, next }] = await Promise.all([
        get("/counts", { workflow, children }),
        get("/runs", { status, workflow, q: asked.get("q"), children, after, limit: LISTED }),
      ]);
    if (mine !== asked) return; // something else is meant by now
    patch(
      main,
      heading("Runs"),
      sheet(
        "Runs",
        h(
          "div.tool",
          STAND.filter(([k]) => !k || k === status || counts[k]).map(([k, t]) =>
            chip(to({ status: k }), t, k === status, counts[k] && `${n(counts[k])}${more.includes(k) ? "+" : ""}`),
          ),
          workflow ? used(to({ workflow: "" }), `workflow ${workflow}`) : null,
          h("span.grow"),
          field("Text in a run's id or inputs", "text in id or inputs", asked.get("q"), q => go(to({ q }))),
          h(
            "label.mute.check",
            h("input", {
              type: "checkbox",
              checked: Boolean(asked.get("children")),
              on: { change: e => go(to({ children: e.target.checked ? "1" : "" })) },
            }),
            " child runs",
          ),
          exporting(
            "runs",
            Object.fromEntries(
              [
                ["standing", status],
                ["workflow", workflow],
                ["q", asked.get("q")],
              ].filter(([, v]) => v),
            ),
            "these runs",
          ),
        ),
        found.length
          ? runTable(found)
          : status || workflow || asked.get("q")
            ? empty("No run matches. ", h("a.link", { href: "/runs" }, "Show all runs"))
            : empty("No run has been started yet. Start one: ", h("code", "perdure run FILE")),
        next ? empty(h("a.link", { href: to({ after: next }) }, "Older ones")) : null,
      ),
    );
  }
  return {
    refresh,
    readdress(q) {
      asked = q;
      return refresh();
    },
  };
}
