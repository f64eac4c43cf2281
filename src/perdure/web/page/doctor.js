// The doctor: this installation and the state file, looked over when that is asked for.

import { get } from "./api.js";
import { card, coded, h, mark, patch } from "./dom.js";
import { many } from "./words.js";

const URGENT = ["wrong", "warning", "note", "ok"];
/** What was found, in a line. */
function verdict({ state, installation }) {
  const count = what => [...state, ...installation].filter(c => c.verdict === what).length,
    said = [
      count("wrong") && `${many(count("wrong"), "thing is", "things are")} wrong`,
      count("warning") && many(count("warning"), "warning"),
    ];
  return said.filter(Boolean).join(", ") || "nothing is wrong";
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
        "ul.checks",
        [...checks]
          .sort((a, b) => URGENT.indexOf(a.verdict) - URGENT.indexOf(b.verdict))
          .map(c =>
            h(
              "li",
              { class: c.verdict, "data-key": c.name + c.finding },
              mark({ ok: "done", note: "waiting", warning: "interrupted", wrong: "failed" }[c.verdict] || "failed"),
              h("b", c.name),
              h("div", c.finding, c.hint ? h("p.mute", coded(c.hint)) : null),
              c.verdict === "ok" ? null : h("span.faint", c.verdict),
            ),
          ),
      ),
    );
  function paint() {
    patch(
      main,
      h(
        "div.top",
        h(
          "div.grow",
          h("h1", "Doctor"),
          h(
            "div.sub",
            h("span", { role: "status" }, busy ? "reads every row of the state file ..." : found ? verdict(found) : ""),
          ),
        ),
        h(
          "button.btn",
          { type: "button", "aria-disabled": busy, on: { click: examine } },
          mark("pulse", 12, true),
          "Look again",
        ),
      ),
      failed ? h("section.card.pad14", { role: "alert" }, failed) : null,
      found ? h("div.stack", list("State file", found.state), list("Installation", found.installation)) : null,
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
