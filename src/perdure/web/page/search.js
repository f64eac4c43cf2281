// A text, looked for everywhere: in runs, in their steps, in dead letters.

import { get, seg } from "./api.js";
import { card, empty, h, heading, mark, patch } from "./dom.js";
import { runTable } from "./runs.js";
import { address, few, field } from "./tool.js";
import { grave, at, many } from "./words.js";

const FIRST = 8; // of a kind are shown

export function search({ main, query, go, title }) {
  let asked = query,
    found = null,
    of = null;
  const row = (href, key, kind, ...rest) =>
    h(
      "li",
      { "data-key": key, class: "hits" },
      mark(kind),
      h("a", { href, "data-row": true, class: "link nowrap" }, rest[0]),
      rest.slice(1),
    );
  /** What was found of a kind; runs are a table, of others `line` makes an item. */
  function part(title, items, line = null) {
    const [shown, all] = few(
      title,
      items,
      (_, i) => i < FIRST,
      () => paint(of),
    );
    return items.length
      ? card(title, items.length, line ? h("ul.plain", shown.map(line)) : runTable(shown), all && empty(all))
      : null;
  }
  function paint(q) {
    title(q ? `${q}, search` : "Search");
    const none = found && !found.runs.length && !found.steps.length && !found.letters.length && !found.lines.length;
    patch(
      main,
      heading(
        "Search",
        h(
          "span",
          { role: "status" },
          !q
            ? ""
            : of !== q
              ? "looks ..."
              : none
                ? "nothing found"
                : `${many(found.runs.length, "run")}, ${many(found.steps.length, "step")}, ${many(found.letters.length, "dead letter")}, ${many(found.lines.length, "line")}${found.complete ? "" : "; there may be more: two seconds were over, or the first 20 are listed"}`,
        ),
      ),
      h(
        "div.stack",
        field("Text to look for; its case counts", "text; its case counts", q, text =>
          go(address("/search", "", { q: text })),
        ),
        !q
          ? h(
              "section.card",
              empty("Runs, their steps and logs, and dead letters are looked through, for two seconds at most."),
            )
          : null,
        of === q && found
          ? [
              part("Dead letters", found.letters, l =>
                row(
                  `/dead/${l.letter}`,
                  `l${l.letter}`,
                  "dead",
                  `dead letter ${l.letter}`,
                  h("span.mono.mute.clip", { title: l.inputs }, `${l.step || l.workflow}${l.inputs}`),
                  h("span.err.clip", { title: l.error }, l.error),
                ),
              ),
              part("Runs", found.runs),
              part("Steps", found.steps, ({ run, step }) =>
                row(
                  `/runs/${seg(run)}?step=${step.seq}`,
                  `${run}#${step.seq}`,
                  step.status,
                  `${step.name} #${step.seq}`,
                  h("span.mono.mute", step.inputs),
                  h("span.id", run),
                ),
              ),
              part("Log", found.lines, ({ run, line }, i) =>
                row(
                  `/runs/${seg(run)}?log=${seg(q)}`,
                  `line ${i} ${line.at}`,
                  grave(line) ? "failed" : "list",
                  line.step,
                  h("span.mono.mute.clip", { title: line.text }, line.text),
                  h("span.id", `${run} · ${at(line.at)}${line.level ? ` · ${line.level} ${line.logger}` : ""}`),
                ),
              ),
              none ? h("section.card", empty("Nothing has that text.")) : null,
            ]
          : null,
      ),
    );
  }
  async function look() {
    const q = asked.get("q") || "";
    paint(q);
    if (!q) {
      if (!of) main.querySelector("[data-search]").focus(); // once: what has the focus later keeps it
      of = " ";
      return;
    }
    if (of !== q) {
      const answer = await get("/search", { q });
      if (q !== (asked.get("q") || "")) return;
      found = answer;
      of = q;
      paint(q);
    }
  }
  return {
    async refresh() {
      await look();
    },
    readdress(q) {
      asked = q;
      return look();
    },
  };
}
