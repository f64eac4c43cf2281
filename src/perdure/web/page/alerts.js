// Alerts: whom they reach, and what was not delivered yet.

import { act, get, server } from "./api.js";
import { button, card, command, confirm, empty, fold, h, heading, patch } from "./dom.js";
import { table } from "./table.js";
import { ago, at, many, n } from "./words.js";

export function alerts({ main, again }) {
  async function refresh() {
    const found = await get("/alerts");
    patch(
      main,
      heading("Alerts", h("span", "as the settings say where this page was started; a script may have others")),
      h(
        "div.stack",
        card(
          "Targets",
          found.targets.length || null,
          found.targets.length
            ? h(
                "ul.plain",
                found.targets.map(t => h("li", t)),
              )
            : empty(
                "None: nobody hears of a failure or a death. Set PERDURE_ALERTS, or alerts in [tool.perdure] of pyproject.toml.",
              ),
          h(
            "div.pad14",
            command("perdure alert test"),
            server.read_only || !found.targets.length
              ? null
              : h(
                  "div.acts",
                  button("Send a test…", "", () =>
                    confirm(
                      "Send a test alert?",
                      `To ${found.targets.join(", ")}, at once.`,
                      "perdure alert test",
                      "Send it",
                      "primary",
                      async () => {
                        const { tests } = await act("POST", "/alerts/test", {});
                        return tests
                          .map(t =>
                            t.delivered
                              ? `${t.target}: delivered in ${n(t.ms)} ms`
                              : `${t.target}: not delivered: ${t.what}`,
                          )
                          .join("; ");
                      },
                    ),
                  ),
                ),
          ),
        ),
        card(
          "Wait to be delivered",
          found.total ? n(found.total) : null,
          found.waiting.length
            ? table(
                "Alerts that wait",
                [
                  ["Alert", a => h("b", fold(a.title)), "wide"],
                  ["For", a => [a.target, a.configured ? null : h("div.mute", "not in these settings")], "whole"],
                  ["Since", a => ago(a.created), "", a => at(a.created)],
                  ["Tries", a => n(a.tries), "r"],
                  ["Last failure", a => (a.error ? fold(a.error) : "–"), "wide"],
                  [
                    "Next try",
                    a => (a.next && Date.parse(a.next) > Date.now() ? ago(a.next) : "due"),
                    "",
                    a => at(a.next),
                  ],
                ],
                found.waiting,
                a => `${a.target} ${a.created} ${a.title}`,
              )
            : empty("Nothing waits."),
          found.total > found.waiting.length
            ? empty(`The first ${n(found.waiting.length)} of ${n(found.total)} are listed.`)
            : null,
          found.waiting.length
            ? h(
                "div.pad14",
                command("perdure alert flush"),
                server.read_only
                  ? null
                  : h(
                      "div.acts",
                      button("Deliver now…", "", () =>
                        confirm(
                          "Deliver what waits now?",
                          "Also what failed a moment ago is tried again.",
                          "perdure alert flush",
                          "Deliver",
                          "primary",
                          async () => {
                            const done = await act("POST", "/alerts/flush", {});
                            await again();
                            return done.waiting
                              ? `${many(done.waiting, "alert waits", "alerts wait")} still`
                              : "delivered";
                          },
                        ),
                      ),
                    ),
              )
            : null,
          found.dropped || found.damaged
            ? empty(`Besides: ${n(found.dropped)} made room for newer ones, ${n(found.damaged)} cannot be read.`)
            : null,
        ),
      ),
    );
  }
  return { refresh };
}
