// One dead letter: its error and input, what can be done, its attempts, and the code that failed.

import { seg, server } from "./api.js";
import { letterActs } from "./deeds.js";
import { button, command, h, mark, pill, sheet } from "./dom.js";
import { attempts, error, excerpt, json, named, place, trace } from "./inspector.js";
import { many, n } from "./words.js";

/** All about a letter: `line` is its line of the listing, `about` what else its call had; `edit` opens the editor. */
export function letter(one, line, { go, edit, about }) {
  const parked = one.status === "parked",
    able = parked && line && !server.read_only,
    parameters = line?.parameters || [],
    part = (title, value) => h("section.sec", h("h3", title), json(value, title));
  return h(
    "div.two",
    { "data-key": `letter ${one.letter}` },
    sheet(
      `Letter ${one.letter}`,
      h(
        "header",
        mark("dead", 14, true),
        h("h2.nowrap", `Letter ${n(one.letter)}`),
        h("span.mono.mute.clip", one.step || "the whole run"),
        h("span.grow"),
        pill(parked ? "dead" : "done", line?.letter.status || one.status),
      ),
      h(
        "div.pad14",
        error({ type: one.error, message: one.message, notes: one.notes }),
        part(one.edited == null ? "Input" : "Recorded input", named(one.inputs, parameters)),
        one.edited == null ? null : part("Edited input", named(one.edited, parameters)),
        one.result == null ? null : part("Result", one.result),
        able
          ? h(
              "div.acts",
              letterActs(go, [line]).map(x => button(...x)),
              one.seq
                ? button("Edit input", "", () => edit(one.letter), `Edit the input of letter ${one.letter}`)
                : null,
            )
          : null,
        able ? h("div", { "data-keep": true, "data-key": "editor" }) : null,
        parked
          ? h(
              "div.ways",
              (able ? [] : ["redrive", "drop"])
                .concat(able && one.seq ? [] : "edit")
                .map(verb => h("div.way", command(`perdure dlq ${verb} ${one.letter}`))),
            )
          : null,
      ),
    ),
    sheet(
      "Attempts",
      h(
        "header",
        h("h2", many(one.attempts.length, "attempt")),
        h("span.grow"),
        h(
          "a.btn.small",
          { href: one.seq ? `/runs/${seg(one.run)}?step=${one.seq}` : `/runs/${seg(one.run)}` },
          "In the run",
        ),
      ),
      h(
        "div.pad14",
        h(
          "div",
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
        about?.excerpt ? h("section.sec", h("h3", "Code", place(about.excerpt)), excerpt(about.excerpt)) : null,
        trace(one.attempts.at(-1)?.traceback),
      ),
    ),
  );
}
