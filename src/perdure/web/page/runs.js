// The runs, newest first: filters in the address, further ones by cursor.

import { download, get, seg } from "./api.js";
import { button, empty, h, heading, mark, patch, sheet, toast } from "./dom.js";
import { table, unseen } from "./table.js";
import { ago, at, many, n, tail, took } from "./words.js";

const STAND = [
  ["", "All"],
  ["running", "Running"],
  ["failed", "Failed"],
  ["interrupted", "Interrupted"],
  ["suspended", "Suspended"],
  ["queued", "Queued"],
  ["dead", "With dead letters"],
  ["parked", "Parked"],
  ["cancelled", "Cancelled"],
  ["done", "Done"],
];

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
              class: "clip name",
              title: `${run.workflow}${run.inputs}`,
            },
            h("b", {}, run.workflow),
            h("span", { class: "in mono" }, run.inputs),
          ),
      ],
      [
        "What it says",
        run => [
          run.dead_letters
            ? h("span", { class: "deadsay" }, many(run.dead_letters, "dead letter"), says(run) ? " · " : "")
            : null,
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
      ["Id", run => h("span", { class: "id clip name", title: run.id }, tail(run.id, run.workflow))],
    ],
    lines,
    run => run.id,
    { kind: "runs", some: false },
  );

export function runs({ main, query, go, again }) {
  let asked = query,
    pages = 1;
  const to = changed => {
    const q = new URLSearchParams(asked);
    for (const [k, v] of Object.entries(changed))
      if (v) q.set(k, v);
      else q.delete(k);
    return `/runs${q.size ? `?${q}` : ""}`;
  };
  async function load() {
    const given = {
      status: asked.get("status"),
      workflow: asked.get("workflow"),
      q: asked.get("q"),
      children: asked.get("children") ? "true" : null,
      limit: 50,
    };
    let found = [],
      after = null;
    const counts = get("/counts", { workflow: given.workflow, children: given.children });
    counts.catch(() => {});
    for (let i = 0; i < pages; i++) {
      const page = await get("/runs", { ...given, after });
      found = found.concat(page.runs);
      after = page.next;
      if (!after) break;
    }
    return { found, after, ...(await counts) };
  }
  async function refresh() {
    const { found, after, counts, more } = await load(),
      status = asked.get("status") || "",
      workflow = asked.get("workflow");
    patch(
      main,
      heading("Runs"),
      sheet(
        "Runs",
        h(
          "div",
          { class: "tool" },
          STAND.filter(([k]) => !k || k === status || counts[k]).map(([k, t]) =>
            h(
              "a",
              { class: "chip", href: to({ status: k }), "aria-current": k === status ? "true" : null },
              t,
              counts[k] ? h("span", { class: "n" }, `${n(counts[k])}${more.includes(k) ? "+" : ""}`) : null,
            ),
          ),
          workflow
            ? h(
                "a",
                {
                  class: "chip",
                  href: to({ workflow: "" }),
                  "aria-current": "true",
                  "aria-label": `workflow ${workflow}; remove this filter`,
                },
                `workflow ${workflow}`,
                h("span", { "aria-hidden": "true" }, "×"),
              )
            : null,
          h("span", { class: "grow" }),
          h(
            "label",
            { class: "search" },
            mark("search", 12, true),
            h("input", {
              "data-search": true,
              "aria-label": "Text in a run's id or inputs",
              placeholder: "text in id or inputs",
              spellcheck: "false",
              value: asked.get("q") || "",
              on: { change: e => go(to({ q: e.target.value.trim() })) },
            }),
            h("kbd", {}, "/"),
          ),
          h(
            "label",
            { class: "mute check" },
            h("input", {
              type: "checkbox",
              checked: Boolean(asked.get("children")),
              on: { change: e => go(to({ children: e.target.checked ? "1" : "" })) },
            }),
            " child runs",
          ),
          button(
            "Export",
            "",
            () =>
              download(
                "runs",
                Object.fromEntries(
                  ["status", "workflow", "q"]
                    .map(k => [k === "status" ? "standing" : k, asked.get(k)])
                    .filter(([, v]) => v),
                ),
              ).catch(e => toast(e.message)),
            "Export these runs as JSON Lines",
          ),
        ),
        found.length
          ? runTable(found)
          : status || workflow || asked.get("q")
            ? empty("No run matches. ", h("a", { class: "link", href: "/runs" }, "Show all runs"))
            : empty("No run has been started yet. Start one: ", h("code", {}, "perdure run FILE")),
        after
          ? h(
              "p",
              { class: "empty" },
              h(
                "button",
                {
                  class: "btn",
                  type: "button",
                  on: {
                    click: () => {
                      pages++;
                      again();
                    },
                  },
                },
                "Older runs",
              ),
            )
          : null,
      ),
    );
  }
  return {
    refresh,
    readdress(q) {
      asked = q;
      pages = 1;
      return refresh();
    },
  };
}
