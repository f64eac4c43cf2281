// Calls in time, as numbers: marks of a scale, bars, lanes, and what is idle.

export function ticks(a, b, want) {
  const raw = Math.max((b - a) / want, 1e-6),
    m = 10 ** Math.floor(Math.log10(raw)),
    step = [1, 2, 5, 10].map(k => k * m).find(k => k >= raw),
    out = [];
  for (let t = Math.ceil(a / step) * step; t <= b; t += step) out.push(t);
  return out;
}
/** The bars of a call: from, length, class. */
export const bars = x => [
  ...x.failures.map(f => [f.at, f.ms, f.throttled ? "wait-bar" : "fail-bar"]),
  [
    x.last_at,
    x.ms,
    x.status === "done"
      ? x.failures.length
        ? "done-bar2"
        : "done-bar"
      : x.status === "dead"
        ? "dead-bar"
        : x.status === "abandoned"
          ? "line"
          : x.status === "cut"
            ? "stop"
            : x.status === "running"
              ? "run-bar"
              : "fail-bar",
  ],
];
export const ends = x => x.last_at + x.ms;
export const FOLD = 46,
  LEAST = 10000; // pixels of an idle time that is folded; one is, if it is that long (ms) and most of the run

/** When nothing happened for long: [from, to], of what is busy at [from, to]. */
export function idle(busy, length) {
  const found = [];
  let last = 0;
  for (const [a, b] of [...busy, [length, length]].sort((p, q) => p[0] - q[0])) {
    if (a - last > Math.max(LEAST, length / 6)) found.push([last, a]);
    last = Math.max(last, b);
  }
  return found;
}

/** When something happened: [from, to], joined where they are nearly one. */
export function merged(busy, near) {
  const found = [];
  for (const [a, b] of [...busy].sort((p, q) => p[0] - q[0])) {
    const last = found.at(-1);
    if (last && a - last[1] < near) last[1] = Math.max(last[1], b);
    else found.push([a, b]);
  }
  return found;
}

/** Put each call into the first lane that is free. */
export function lanes(calls) {
  const free = [],
    found = [...calls]
      .sort((p, q) => p.at - q.at)
      .map(x => {
        let lane = free.findIndex(t => t <= x.at + 0.5);
        if (lane < 0) lane = free.push(0) - 1;
        const since = x.made == null ? x.at : Math.max(x.made, free[lane]); // a wait is drawn where its lane was free
        free[lane] = ends(x);
        return { x, lane, since };
      });
  return { found, count: Math.max(free.length, 1) };
}

/** Attempts that are under way, `flying`, and with them what else never became a record: tried without success, or cut. */
export function unrecorded(found, process, began) {
  const flying =
    found.calls && process?.alive
      ? process.in_flight.map(f => {
          const at = Date.parse(f.since) - began;
          return {
            ...f,
            name: f.step,
            inputs: f.inputs || f.label,
            seq: null,
            status: "running",
            error: "",
            at,
            last_at: at,
            ms: Math.max(found.length - at, 0),
            attempts: f.attempt,
            failures: [],
          };
        })
      : [];
  const tried = found.open.filter(o => {
    const f = flying.find(f => f.name === o.name && f.inputs === o.inputs && !f.failures.length);
    if (f) {
      f.failures = o.failures;
      f.at = o.failures[0].at;
    }
    return !f;
  });
  const rest = found.calls
    ? [
        ...flying,
        ...tried.map(o => ({
          ...o,
          seq: null,
          status: "failed",
          error: o.failures.at(-1).error,
          at: o.failures[0].at,
          last_at: o.failures.at(-1).at,
          ms: o.failures.at(-1).ms,
          attempts: o.failures.length,
          failures: o.failures.slice(0, -1),
        })),
        ...found.cut.map(o => ({
          ...o,
          seq: null,
          inputs: `attempt ${o.attempt}, broken off`,
          error: o.cause && o.cause !== "unseen" ? o.cause : "its process died",
          status: "cut",
          last_at: o.at,
          attempts: 1,
          failures: [],
        })),
      ]
    : [];
  return { flying, rest };
}
