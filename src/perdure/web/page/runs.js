// The runs, newest first: filters in the address, further ones by cursor.

import { download, get, seg } from "./api.js";
import { button, empty, h, mark, patch, sheet, toast } from "./dom.js";
import { ago, at, n, tail, took } from "./words.js";

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

/** The runs as a table. */
export const table = lines =>
  h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs, table" },
    h(
      "table",
      { class: "runs" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["State", "Run", "What it says", "Steps", "Took", "Started", "Id"].map((t, i) =>
            h("th", { scope: "col", class: i > 2 && i < 6 ? "r" : null }, i ? t : h("span", { class: "sr" }, t)),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        lines.map(run => {
          const { inputs } = run,
            says =
              run.waits ||
              run.error ||
              (run.status === "interrupted"
                ? "no process executes it"
                : run.status === "superseded"
                  ? "a fork goes on in its place"
                  : "");
          return h(
            "tr",
            { "data-key": run.id },
            h("td", {}, mark(run.status)),
            h(
              "td",
              {},
              h(
                "a",
                {
                  href: `/runs/${seg(run.id)}`,
                  "data-row": true,
                  class: "clip name",
                  title: `${run.workflow}${inputs}`,
                },
                h("b", {}, run.workflow),
                h("span", { class: "in mono" }, inputs),
              ),
            ),
            h(
              "td",
              { class: `clip ${run.status === "done" ? "faint" : "mute"}`, title: says },
              run.dead_letters
                ? h(
                    "span",
                    { class: "deadsay" },
                    `${n(run.dead_letters)} dead letter${run.dead_letters > 1 ? "s" : ""}${says ? " · " : ""}`,
                  )
                : null,
              says,
              run.last_step && run.status !== "done" && ((!says && !run.dead_letters) || run.status === "interrupted")
                ? `${says ? "; " : ""}last step ${run.last_step}`
                : null,
            ),
            h("td", { class: "r" }, n(run.steps)),
            h("td", { class: "r" }, took(run.seconds)),
            h("td", { class: "r mute", title: at(run.created) }, ago(run.created)),
            h("td", {}, h("span", { class: "id clip name", title: run.id }, tail(run.id, run.workflow))),
          );
        }),
      ),
    ),
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
      h("div", { class: "top" }, h("div", { class: "grow" }, h("h1", {}, "Runs"))),
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
          ? table(found)
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
