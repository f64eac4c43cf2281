// What the calls of a run have logged and printed.

import { seg } from "./api.js";
import { button, card, h, region, empty } from "./dom.js";
import { exporting, field } from "./tool.js";
import { grave, at, many, n } from "./words.js";

const LEVELS = [
  ["", "any level ▾"],
  ["INFO", "INFO or graver"],
  ["WARNING", "WARNING or graver"],
  ["ERROR", "ERROR or graver"],
];

/** @param {string} run as the address names it @param {string} id in full @param {Object|null} lines what was found, if it was asked for @param {URLSearchParams} asked what the address asks for @param {(address: string, replace: boolean) => void} go */
export function log(run, id, lines, asked, go) {
  const having = asked.get("log"),
    level = asked.get("level") || "",
    line = asked.get("line");
  const lineAddress = changed => {
      const q = new URLSearchParams(asked);
      for (const [k, v] of Object.entries(changed))
        if (k === "log" || v) q.set(k, v);
        else q.delete(k);
      return `/runs/${seg(run)}?${q}`;
    },
    show = changed => go(lineAddress(changed), true);
  return card(
    "Log",
    null,
    !lines
      ? empty(button("Show the last lines", "", () => show({ log: "" })))
      : [
          h(
            "div.tool",
            h(
              "span.mute",
              `${lines.earlier ? `the last ${n(lines.lines.length)} lines` : many(lines.lines.length, "line")}${line ? ` up to ${at(line)}` : ""}`,
            ),
            line ? h("a.link", { href: lineAddress({ line: "" }) }, "Newest lines") : null,
            h("span.grow"),
            h(
              "select.chip",
              { "aria-label": "Level of the lines", on: { change: e => show({ level: e.target.value }) } },
              LEVELS.map(([k, text]) => h("option", { value: k, selected: level === k }, text)),
            ),
            field(
              "Text in a line, its step or its logger",
              "text, step or logger",
              having,
              log => show({ log }),
              false,
            ),
            ["Export", "Export all"]
              .slice(0, level || having ? 2 : 1)
              .map((text, i) =>
                exporting(
                  "log",
                  { run: id, ...(i || !level ? {} : { level }), ...(i || !having ? {} : { q: having }) },
                  `${i || !(level || having) ? "all" : "these"} lines`,
                  text,
                ),
              ),
          ),
          lines.lines.length
            ? region(
                "pre.codex.log",
                "what its attempts have logged and printed",
                lines.lines.map(x =>
                  h(
                    "div",
                    { class: `${grave(x) ? "err" : ""}${x.at === line ? " sel" : ""}`, "data-key": x.at },
                    h("a.faint", { href: lineAddress({ line: x.at }), title: "The address of this line" }, at(x.at)),
                    ` ${x.step} ${x.level ? `${x.level} ${x.logger}: ` : ""}${x.text}`,
                  ),
                ),
              )
            : empty(level || having ? "No line fits." : "Its attempts have logged and printed nothing that is kept."),
        ],
  );
}
