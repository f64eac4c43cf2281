// The services that steps call: their breakers, pauses and rate limits; and the locks.

import { act, get, seg, server } from "./api.js";
import { button, card, confirm, empty, fold, h, heading, patch, pill } from "./dom.js";
import { runLink, table } from "./table.js";
import { at, n, quoted, stands, took } from "./words.js";

const OPENINGS = 50;
const shut = one => one.state === "open" || one.state === "isolated";
/** How much a service needs somebody: what lets no call through stands first. */
const rank = one => (shut(one) ? 0 : one.state === "half-open" ? 1 : one.paused_until ? 2 : 3);
/** Services, those first that let no call through. */
export const ranked = found => [...found].sort((a, b) => rank(a) - rank(b));
/** The mark of a service. */
export const tone = one => ["waiting", "stopping", "waiting", "done"][rank(one)];

export function services({ main }) {
  async function refresh() {
    const { services: found, locks, openings } = await get("/services");
    const closed = found.filter(shut).length;
    patch(
      main,
      heading("Services", h("span", "circuit breakers, pauses, rate limits and locks of all processes")),
      h(
        "div.stack",
        card(
          "Services",
          found.length ? `${n(found.length)}${closed ? `, ${n(closed)} of them let no call through` : ""}` : null,
          found.length
            ? table(
                "Services",
                [
                  ["Name", one => h("b", one.name), "whole"],
                  ["State", one => (one.state ? pill(tone({ ...one, paused_until: null }), stands(one)) : "–")],
                  ["Failures in a row", one => (one.failures ? n(one.failures) : "–"), "r"],
                  ["Openings", one => (one.openings ? n(one.openings) : "–"), "r"],
                  found.some(one => one.paused_until) && ["Paused until", one => at(one.paused_until)],
                  found.some(one => one.rate) && ["Rate", one => one.rate || "–"],
                  ["Last error", one => (one.error ? fold(one.error) : "–"), "mono wide"],
                  !server.read_only && ["Change", one => h("span.acts", changes(one))],
                ],
                ranked(found),
                one => one.name,
                { some: false },
              )
            : empty("No breaker has seen a failure, and no rate limit is in use."),
        ),
        openings.length
          ? card(
              "Openings",
              openings.length > OPENINGS ? `the newest ${OPENINGS} of ${n(openings.length)}` : n(openings.length),
              table(
                "Openings of breakers",
                [
                  ["Breaker", o => h("b", o.name), "whole"],
                  ["From", o => at(o.began)],
                  ["To", o => (o.ended ? at(o.ended) : pill("waiting", "not over"))],
                  [
                    "How long",
                    o => took(((o.ended ? Date.parse(o.ended) : Date.now()) - Date.parse(o.began)) / 1000),
                    "r",
                  ],
                  ["Why", o => (o.how === "isolated" ? "isolated by a person" : o.error ? fold(o.error) : "–"), "wide"],
                ],
                openings.slice(0, OPENINGS),
                o => o.name + o.began,
              ),
            )
          : null,
        card(
          "Locks",
          locks.length || null,
          locks.length
            ? table(
                "Locks",
                [
                  ["Name", l => h("b", l.name), "whole"],
                  ["Held by", l => `pid ${l.pid} on ${l.host}`],
                  ["Since", l => at(l.since)],
                  ["Run", l => runLink(l.run)],
                ],
                locks,
                l => l.name,
              )
            : empty("None is held."),
        ),
      ),
    );
  }
  return { refresh };
}
const changes = one => [
  (one.state && one.state !== "closed") || one.paused_until
    ? button(
        "Close…",
        "",
        () =>
          confirm(
            `Close breaker ${one.name}?`,
            "Calls of that service go through again at once, in all processes; a pause that it asked for ends.",
            `perdure breaker reset ${quoted(one.name)}`,
            "Close it",
            "primary",
            () => act("POST", `/services/${seg(one.name)}/reset`, {}),
          ),
        `Close breaker ${one.name}`,
      )
    : null,
  one.state !== "isolated"
    ? button(
        "Isolate…",
        "danger",
        () =>
          confirm(
            `Isolate ${one.name}?`,
            "No call goes through until it is reset: steps wait within their bound, or fail at once.",
            `perdure breaker isolate ${quoted(one.name)}`,
            "Isolate it",
            "danger",
            () => act("POST", `/services/${seg(one.name)}/isolate`, {}),
          ),
        `Isolate ${one.name}`,
      )
    : null,
];
