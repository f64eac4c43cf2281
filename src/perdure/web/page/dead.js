// Dead letters: left the reasons, right the letters of one with their inputs as columns, below the one that is chosen.

import { get, ifAny, seg, server } from "./api.js";
import { letterActs, matchingActs } from "./deeds.js";
import { button, card, command, empty, find, h, heading, mark, patch, toast, sheet } from "./dom.js";
import { editor } from "./editor.js";
import { letter } from "./letter.js";
import { isDamaged, letterTable, oddities } from "./letters.js";
import { address, chip, exporting, few, field, used } from "./tool.js";
import { ago, at, many, n } from "./words.js";

const LISTED = 20; // at first, beside those that are chosen
const STAND = [
  ["parked", "Parked"],
  ["re-driven", "Tried again now"],
  ["resolved", "Resolved"],
  ["dropped", "Dropped"],
];
const ADVICE = {
  permanent: "Such an error does not heal by itself: mend the input or the script, then redrive; or drop it.",
  transient: "Such an error may heal by itself: ask the service, then redrive, slowly.",
  throttled: "The service asks for fewer calls: redrive with a rate.",
};

export function dead({ main, given, query, go, title, again }) {
  let asked = query,
    chosen = new Set(),
    accepted = null,
    acceptedOf = "",
    about = null,
    aboutOf = null,
    paint = null;
  /** What calls of the step that succeeded were given: asked for once. */
  async function look(rows) {
    const sound = rows.map(x => x.letter).filter(x => !isDamaged(x)),
      steps = new Set(sound.map(x => x.step)),
      l = sound[0],
      of = steps.size === 1 && l.step ? `${l.run} ${l.step}` : "";
    if (of === acceptedOf) return;
    accepted = null;
    if (of) accepted = await ifAny(get(`/letters/${l.letter}/accepted`));
    acceptedOf = of;
  }
  const place = () => main.querySelector("[data-key=editor]");
  const stopEditing = () => {
    place()?.replaceChildren();
    find("[aria-label^=Edit]", main)?.focus();
  };
  async function edit(id) {
    try {
      const input = await get(`/letters/${id}/input`);
      place()?.replaceChildren(editor(input, stopEditing, again));
      place()?.querySelector("input:enabled,textarea:enabled")?.focus();
    } catch (failed) {
      toast(failed.message);
    }
  }
  const to = (changed, letter = null) => address(`/dead${letter ? `/${letter}` : ""}`, asked, changed);
  async function refresh() {
    const mine = asked, // with what is given: both change at once
      status = asked.get("status") || "parked",
      filters = { run: asked.get("run"), step: asked.get("step"), error: asked.get("q") };
    const [why, one] = await Promise.all([get("/letters/reasons"), given ? ifAny(get(`/letters/${given}`)) : null]);
    const filtered = Object.values(filters).some(Boolean) || status !== "parked";
    const reason = filtered ? asked.get("reason") : asked.get("reason") || one?.reason || why.reasons[0]?.reason;
    const page = await get("/letters", { status, reason, ...filters, limit: 200 });
    await look(page.letters);
    if (mine !== asked) return; // something else is meant by now
    if (one?.seq && aboutOf !== given) {
      const found = await ifAny(get(`/runs/${seg(one.run)}/steps/${one.seq}/call`));
      if (mine !== asked) return;
      about = found;
      aboutOf = given;
    }
    const marked = page.letters.some(x => oddities(x, accepted).length);
    const group = reason ? why.reasons.find(x => x.reason === reason) : null,
      rows = page.letters;
    for (const id of chosen) if (!rows.some(x => x.letter.letter === id)) chosen.delete(id);
    const matching = Object.fromEntries(Object.entries({ reason, ...filters }).filter(([, v]) => v));
    const count =
      page.next == null ? rows.length : group && !Object.values(filters).some(Boolean) ? group.letters : null;
    title(`Dead letters${given ? ` ${given}` : ""}`);
    // A choice is painted without a question to the server, so that the buttons always name what is chosen.
    paint = () => {
      const isFirst = ({ letter: l }, i) => i < LISTED || chosen.has(l.letter) || String(l.letter) === given,
        [listed, all] = few("letters", rows, isFirst, paint);
      patch(
        main,
        heading(
          "Dead letters",
          h(
            "span",
            why.letters
              ? `${many(why.letters, "letter")} parked, for ${many(why.reasons.length, "reason")}`
              : "none is parked",
          ),
        ),
        h(
          "div.dl",
          card(
            "Reasons",
            why.reasons.length ? n(why.reasons.length) : null,
            why.reasons.length
              ? why.reasons.map(x =>
                  h(
                    "a.grp",
                    {
                      href: x.reason
                        ? `/dead?reason=${x.reason}`
                        : `/dead?step=${encodeURIComponent(x.newest.step || "")}`,
                      "data-row": true,
                      "data-key": x.reason || `${x.newest.step} ${x.shape}`,
                      "aria-current": x.reason && x.reason === reason ? "true" : null,
                    },
                    h("span.h", mark("dead", 13, true), h("b.clip", x.error), h("span.n", n(x.letters))),
                    h("span.m", { title: x.shape }, x.shape),
                    h(
                      "span.f",
                      h("span.mono", x.newest.step || x.newest.workflow),
                      x.newest.verdict ? h("span", x.newest.verdict.kind) : null,
                      h("span", { title: at(x.last) }, `last ${ago(x.last)}`),
                    ),
                  ),
                )
              : empty("No letter is parked."),
          ),
          h(
            "div.stack",
            sheet(
              "Letters",
              h(
                "header",
                h("h2.nowrap", group ? group.error : "Letters"),
                group ? h("span.mute.clip", group.shape) : null,
                h("span.grow"),
                group?.newest.verdict
                  ? h(
                      "span.pill",
                      group.newest.verdict.code && group.newest.verdict.confidence !== "possible"
                        ? group.newest.verdict.code
                        : group.newest.verdict.kind,
                    )
                  : null,
              ),
              group?.newest.verdict || marked
                ? h(
                    "p.hint",
                    h("span.grow", ADVICE[group?.newest.verdict?.kind] || ""),
                    marked ? h("span", h("span.odd", "marked"), " no call that succeeded had such a value") : null,
                  )
                : null,
              h(
                "div.tool",
                STAND.map(([k, t]) =>
                  chip(`/dead${k === "parked" ? "" : `?status=${k}`}`, t, status === k, page.totals[k] || null),
                ),
                filters.run ? used(to({ run: "" }), `run ${filters.run}`) : null,
                h("span.grow"),
                field("Text in the error", "text in the error", asked.get("q"), q => go(to({ q, reason: "" }))),
              ),
              chosen.size
                ? bar(rows, status)
                : rows.length > 1
                  ? h(
                      "div.bar",
                      { role: "region", "aria-label": "All that match" },
                      h("span.mute", count == null ? "more than these match" : `all ${n(count)} that match`),
                      h("span.grow"),
                      server.read_only || status !== "parked"
                        ? null
                        : matchingActs(go, matching, count, rows).map(one => button(...one)),
                      exporting(
                        "letters",
                        { ...(reason ? { reason } : {}), ...(filters.run ? { run: filters.run } : {}), status },
                        "these letters",
                      ),
                    )
                  : null,
              rows.length
                ? letterTable(listed, { chosen, to: one => to({}, one), given, accepted, again: () => paint() })
                : filtered || reason
                  ? empty("No letter matches. ", h("a.link", { href: "/dead" }, "Show those that are parked"))
                  : empty("No letter is parked. A call that fails for good becomes one, to be tried again or dropped."),
              all && empty(all),
              page.next
                ? empty("The newest 200 are listed; what is done to all that match is done to all of them.")
                : null,
            ),
            given
              ? one
                ? letter(
                    one,
                    rows.find(x => String(x.letter.letter) === given),
                    { go, edit, about },
                  )
                : h("section.card", empty(`There is no dead letter ${given}.`))
              : null,
          ),
        ),
      );
    };
    paint();
  }
  function bar(rows, status) {
    const ids = [...chosen].sort((a, b) => a - b).join(" ");
    return h(
      "div.bar",
      { role: "region", "aria-label": "What is chosen" },
      h("b", `${n(chosen.size)} chosen`),
      h("span.grow"),
      server.read_only || status !== "parked"
        ? [command(`perdure dlq redrive ${ids}`), command(`perdure dlq drop ${ids}`)]
        : letterActs(
            go,
            rows.filter(x => chosen.has(x.letter.letter)),
          ).map(one => button(...one)),
    );
  }
  let seen = null;
  async function first() {
    await refresh();
    if (given !== seen) {
      seen = given;
      main.querySelector("tr[aria-current]")?.scrollIntoView({ block: "nearest" });
    }
  }
  return {
    refresh: first,
    /** Another letter, or another filter: what is chosen stays so, and what has the focus keeps it. */
    readdress(q, letter) {
      asked = q;
      given = letter;
      return first();
    },
  };
}
