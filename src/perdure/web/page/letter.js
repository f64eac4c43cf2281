// One dead letter: its error and input, what can be done, its attempts, and the code that failed.

import { seg, server } from "./api.js";
import { letterActs } from "./deeds.js";
import { button, command, h, mark, pill } from "./dom.js";
import { attempts, error, excerpt, json, named, trace } from "./inspector.js";
import { many, n } from "./words.js";

/** All about a letter: `line` is its line of the listing, `about` what else its call had; `edit` opens the editor. */
export function letter(one, line, { go, edit, about }) {
  return h(
    "div",
    { class: "two", "data-key": `letter ${one.letter}` },
    h(
      "section",
      { class: "card", "aria-label": `Letter ${one.letter}` },
      h(
        "header",
        {},
        mark("dead", 14, true),
        h("h2", { class: "nowrap" }, `Letter ${n(one.letter)}`),
        h("span", { class: "mono mute clip" }, one.step || "the whole run"),
        h("span", { class: "grow" }),
        pill(one.status === "parked" ? "dead" : "done", line?.letter.status || one.status),
      ),
      h(
        "div",
        { class: "pad14" },
        error({ type: one.error, message: one.message, notes: one.notes }),
        h(
          "section",
          { class: "sec" },
          h("h3", {}, one.edited == null ? "Input" : "Recorded input"),
          json(named(one.inputs, line?.parameters || []), "Recorded input"),
        ),
        one.edited == null
          ? null
          : h(
              "section",
              { class: "sec" },
              h("h3", {}, "Edited input"),
              json(named(one.edited, line?.parameters || []), "Edited input"),
            ),
        one.result == null ? null : h("section", { class: "sec" }, h("h3", {}, "Result"), json(one.result, "Result")),
        one.status === "parked" && line && !server.read_only
          ? h(
              "div",
              { class: "acts" },
              letterActs(go, [line]).map(x => button(...x)),
              one.seq
                ? button("Edit input", "", () => edit(one.letter), `Edit the input of letter ${one.letter}`)
                : null,
            )
          : null,
        one.status === "parked" && !server.read_only ? h("div", { "data-keep": true, "data-key": "editor" }) : null,
        one.status === "parked"
          ? h(
              "div",
              { class: "ways" },
              [
                ...(line && !server.read_only
                  ? []
                  : [
                      ["try it again", `perdure dlq redrive ${one.letter}`],
                      ["give it up", `perdure dlq drop ${one.letter}`],
                    ]),
                ...(line && !server.read_only && one.seq ? [] : [["edit its input", `perdure dlq edit ${one.letter}`]]),
              ].map(([t, c]) => h("div", { class: "way" }, h("span", { class: "faint" }, t), command(c))),
            )
          : null,
      ),
    ),
    h(
      "section",
      { class: "card", "aria-label": "Attempts" },
      h(
        "header",
        {},
        h("h2", {}, many(one.attempts.length, "attempt")),
        h("span", { class: "grow" }),
        h(
          "a",
          { class: "btn small", href: one.seq ? `/runs/${seg(one.run)}?step=${one.seq}` : `/runs/${seg(one.run)}` },
          "In the run",
        ),
      ),
      h(
        "div",
        { class: "pad14" },
        h(
          "div",
          {},
          attempts(
            one.attempts.map(a => ({
              started: a.time,
              seconds: a.seconds,
              verdict: a.verdict,
              error: { type: a.error, message: a.message },
            })),
            null,
          ),
        ),
        about?.excerpt
          ? h(
              "section",
              { class: "sec" },
              h(
                "h3",
                {},
                "Code",
                h(
                  "span",
                  { class: "faint mono clip", title: about.excerpt.file },
                  `${about.excerpt.file.split("/").at(-1)}:${about.excerpt.line} in ${about.excerpt.function}`,
                ),
              ),
              excerpt(about.excerpt),
            )
          : null,
        trace(one.attempts.at(-1)?.traceback),
      ),
    ),
  );
}
