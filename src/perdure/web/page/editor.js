// The input of a dead letter as a form: what is changed is checked by the step's annotations before it is kept.

import { act, get, patiently, seg } from "./api.js";
import { button, coded, h, patch, region, toast } from "./dom.js";
import { many } from "./words.js";

const KINDS = [
  ["text", "text"],
  ["number", "number"],
  ["boolean", "true, false"],
  ["null", "nothing"],
];
const kind = x => (x === null ? "null" : typeof x === "string" ? "text" : typeof x);
const shown = x => (x === null ? "" : String(x));

/** What was typed, as the kind that was chosen; undefined: it is none. */
function read(text, as) {
  if (as === "text") return text;
  if (as === "null") return null;
  if (as === "boolean") return { true: true, false: false }[text.trim()];
  const number = Number(text);
  return text.trim() !== "" && Number.isFinite(number) && (Number.isSafeInteger(number) || !Number.isInteger(number))
    ? number
    : undefined;
}

/** @param {Object} input what `/letters/N/input` answers @param {() => void} close @param {() => Promise<void>} saved */
export function editor(input, close, saved) {
  const said = h("div", { role: "alert" }),
    save = h("button.btn.small.primary"),
    rows = input.places.map(row);
  const count = () => {
    const changed = rows.filter(x => x.changed).length;
    save.textContent = changed ? `Check and keep ${many(changed, "change")}` : "Check and keep";
  };
  function row(place, i) {
    const lines = typeof place.value === "string" && place.value.includes("\n"); // which an input would drop
    const field = h(lines ? "textarea" : "input", {
      id: `place-${i}`,
      autocomplete: "off",
      spellcheck: "false",
      ...(lines ? { rows: 3 } : {}),
    });
    field.value = shown(place.value);
    const as = h(
      "select",
      { "aria-label": `Kind of ${place.path}` },
      KINDS.map(([k, text]) => h("option", { value: k }, text)),
    );
    const note = h("span");
    as.value = kind(place.value);
    as.disabled = !place.whole;
    const one = {
      path: place.path,
      value: () =>
        field.value === shown(place.value) && as.value === kind(place.value)
          ? place.value
          : read(field.value, as.value),
      get changed() {
        return place.whole && this.value() !== place.value;
      },
    };
    const paint = () => {
      const bad = one.value() === undefined;
      field.disabled = !place.whole || as.value === "null";
      field.className = bad ? "bad" : one.changed ? "new" : "";
      if (bad) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
      note.textContent = !place.whole
        ? `not shown as it is; in a terminal: perdure dlq edit ${input.letter}`
        : bad
          ? `this is no ${as.value === "boolean" ? "true or false" : as.value === "number" ? "number of at most 15 digits" : as.value}`
          : one.changed
            ? `was ${shown(place.value) || "nothing"}`
            : place.recorded !== place.value
              ? `recorded: ${shown(place.recorded) || "nothing"}`
              : "";
      note.className = bad ? "msg" : "was2";
      note.hidden = !note.textContent;
    };
    field.addEventListener("input", () => {
      paint();
      count();
    });
    as.addEventListener("change", () => {
      paint();
      count();
    });
    paint();
    return Object.assign(Object.create(one), {
      nodes: [h("label", { for: `place-${i}`, class: "clip", title: place.path }, place.path), field, as, note],
    });
  }
  count();
  async function send(body) {
    patch(said);
    save.disabled = true;
    try {
      let job = await act("PATCH", `/letters/${input.letter}`, {
        script: input.script,
        version: input.version,
        ...body,
      });
      while (!job.ended) {
        await new Promise(r => setTimeout(r, 300));
        job = await patiently(
          () => get(`/jobs/${seg(job.id)}`),
          error => patch(said, h("p.err", `${error.message}; trying again`)),
        );
      }
      if (job.outcome === "done") {
        toast("kept; redrive it to try it");
        close();
        await saved();
        return;
      }
      patch(said, h("p.err", "It was not kept."), region("pre.codex.wrap", "why", job.output));
    } catch (error) {
      patch(said, h("p.err", error.message, error.hint ? h("span.mute", " ", coded(error.hint)) : null));
    }
    save.disabled = false;
    save.focus();
  }
  return h(
    "form.edit",
    {
      on: {
        submit: e => {
          e.preventDefault();
          const changed = rows.filter(x => x.changed);
          if (!changed.length) close();
          else if (changed.every(x => x.value() !== undefined))
            send({ changes: Object.fromEntries(changed.map(x => [x.path, x.value()])) });
        },
      },
    },
    h(
      "p.mute",
      "What is changed is checked by ",
      h("code", input.script),
      ", which is loaded for that. The recorded input is kept.",
    ),
    h(
      "div.form",
      rows.flatMap(x => x.nodes),
    ),
    input.more
      ? h("p.mute", `${many(input.more, "more value")} can be edited in a terminal: perdure dlq edit ${input.letter}`)
      : null,
    said,
    h(
      "div.acts",
      save,
      input.edited ? button("Take the recorded input again", "", () => send({ reset: true })) : null,
      button("Not now", "", close),
    ),
  );
}
