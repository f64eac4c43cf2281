// Dead letters as a table: what each call was given as columns, and which values are worth a look.

import { h, pill } from "./dom.js";
import { table, unseen } from "./table.js";
import { ago, at, many, n } from "./words.js";

const COLUMNS = 7;

/** Of such a letter only the number is known. */
export const isDamaged = letter => letter.status === "damaged";
/** What a call was given, by name: the fields of its only argument, or its arguments. */
export function fields({ letter, data, parameters }) {
  if (isDamaged(letter)) return {};
  const plain = x => x !== null && typeof x === "object" && !Array.isArray(x);
  if (Array.isArray(data))
    return data.length === 1 && plain(data[0])
      ? data[0]
      : Object.fromEntries(data.map((x, i) => [parameters[i] || String(i + 1), x]));
  return plain(data) ? data : { value: data };
}
/** Why a value is worth a look: no call of the step that succeeded had such a one. */
export function odd(value, field, calls) {
  if (!field || value === undefined) return null;
  const number = typeof value === "boolean" || value === null || value === "" ? NaN : Number(value);
  if (field.values)
    return field.values.includes(JSON.stringify(value))
      ? null
      : `none of ${many(calls, "call")} that succeeded had this; they had ${field.values.slice(0, 6).join(", ")}${field.values.length > 6 ? ", …" : ""}`;
  if (Number.isNaN(number)) return `all ${many(calls, "call")} that succeeded had a number`;
  return number < field.least
    ? `below all ${many(calls, "call")} that succeeded (least ${n(field.least)})`
    : number > field.most
      ? `above all ${many(calls, "call")} that succeeded (most ${n(field.most)})`
      : null;
}
const shown = x => (x === undefined ? "" : typeof x === "string" ? x : JSON.stringify(x));

/** Why each value of a letter is worth a look that is, by name. @returns {[string, string][]} */
export const oddities = (row, accepted) =>
  Object.entries(fields(row)).flatMap(([name, value]) => {
    const why = odd(
      value,
      accepted?.fields.find(f => f.name === name),
      accepted?.calls,
    );
    return why ? [/** @type {[string, string]} */ ([name, why])] : [];
  });
/**
 * The table: `chosen` are the numbers of the letters that are ticked, `to` the address of one, `given` the one that is
 * open, `accepted` what calls that succeeded were given; `again` paints the choice anew.
 */
export function letterTable(rows, { chosen, to, given, accepted, again }) {
  const names = [...new Set(rows.slice(0, 50).flatMap(x => Object.keys(fields(x))))],
    sound = rows.filter(x => !isDamaged(x.letter)),
    all = sound.length > 0 && sound.every(x => chosen.has(x.letter.letter)),
    steps = new Set(sound.map(x => x.letter.step)).size > 1;
  const tick = (label, checked, change) =>
    h("input", {
      type: "checkbox",
      "aria-label": label,
      checked,
      on: {
        change: () => {
          change();
          again();
        },
      },
    });
  const column = name => {
    const why = row => new Map(oddities(row, accepted)).get(name),
      text = row => shown(fields(row)[name]);
    return [
      name,
      row => (why(row) ? h("span.odd", text(row)) : text(row)),
      "mono cell",
      row => (why(row) ? `${text(row)}: ${why(row)}` : text(row)),
    ];
  };
  return table(
    "Letters",
    [
      [
        tick("Choose all letters that are shown", all, () => {
          if (all) chosen.clear();
          else for (const x of sound) chosen.add(x.letter.letter);
        }),
        ({ letter: l }) =>
          !isDamaged(l) &&
          tick(`Choose letter ${l.letter}`, chosen.has(l.letter), () => {
            if (!chosen.delete(l.letter)) chosen.add(l.letter);
          }),
      ],
      [
        "Letter",
        ({ letter: l }) =>
          isDamaged(l)
            ? [h("span.num", n(l.letter)), " ", pill(l.status)]
            : [
                h("a.link.num", { "data-row": true, href: to(l.letter) }, n(l.letter)),
                l.edited ? h("span.faint", " edited") : null,
              ],
      ],
      steps && ["Step", ({ letter: l }) => l.step || l.workflow],
      ...names.slice(0, COLUMNS).map(column),
      names.length > COLUMNS && [`and ${names.length - COLUMNS} more`, () => "…", "faint"],
      ["Tries", ({ letter: l }) => n(l.attempts), "r"],
      ["Parked", ({ letter: l }) => ago(l.parked), "r mute", ({ letter: l }) => at(l.parked)],
    ],
    rows,
    ({ letter: l }) => String(l.letter),
    { kind: "letters", some: Boolean(given), current: ({ letter: l }) => String(l.letter) === given },
  );
}
