// Numbers and times as people read them.

export const n = x => x.toLocaleString("en-US");
export const many = (x, one, more = `${one}s`) => `${n(x)} ${x === 1 ? one : more}`;

/** Milliseconds. */
export function dur(ms) {
  if (ms == null) return "–";
  if (ms <= 0) return "0 ms";
  if (ms < 1) return "<1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1).replace(/\.?0+$/, "")} s`;
  const s = Math.round(ms / 1000),
    m = Math.floor(s / 60),
    hours = Math.floor(m / 60),
    days = Math.floor(hours / 24);
  if (m < 60) return `${m} min ${String(s % 60).padStart(2, "0")} s`;
  return hours < 48 ? `${hours} h ${String(m % 60).padStart(2, "0")} min` : `${days} d ${hours % 24} h`;
}
/** A time on a scale whose marks are that far apart: as many digits as tell them apart. */
export const fine = (ms, apart) =>
  ms < 0
    ? `−${fine(-ms, apart)}`
    : ms < 1000 || apart >= 1000
      ? apart < 1
        ? `${+ms.toPrecision(6)} ms`
        : dur(ms)
      : seconds(ms / 1000, Math.min(3, Math.ceil(-Math.log10(apart / 1000))));
const seconds = (s, digits) => {
  const m = Math.floor(+s.toFixed(digits) / 60);
  return `${m ? `${m} min ` : ""}${(s - 60 * m).toFixed(digits)} s`;
};
export const took = seconds => (seconds == null ? "–" : dur(seconds * 1000));

/** A moment (ISO 8601): the time of today, else the date. */
export function at(text) {
  if (!text) return "–";
  const t = new Date(text),
    p = x => String(x).padStart(2, "0"),
    time = `${p(t.getHours())}:${p(t.getMinutes())}:${p(t.getSeconds())}`;
  return t.toDateString() === new Date().toDateString()
    ? time
    : `${t.getFullYear()}-${p(t.getMonth() + 1)}-${p(t.getDate())} ${time.slice(0, 5)}`;
}
export function ago(text) {
  if (!text) return "–";
  const ms = Date.now() - Date.parse(text),
    soon = ms < 0,
    s = Math.round(Math.abs(ms) / 1000);
  const said =
    s < 60
      ? `${s} s`
      : s < 3600
        ? `${Math.floor(s / 60)} min`
        : s < 172800
          ? `${Math.floor(s / 3600)} h`
          : `${Math.floor(s / 86400)} d`;
  return soon ? `in ${said}` : `${said} ago`;
}
export const size = bytes =>
  !bytes
    ? "–"
    : bytes < 1e6
      ? `${Math.round(bytes / 1e3)} KB`
      : bytes < 1e9
        ? `${(bytes / 1e6).toFixed(1)} MB`
        : `${(bytes / 1e9).toFixed(2)} GB`;
/** How a breaker stands. */
export const stands = one =>
  one.until && Date.parse(one.until) > Date.now()
    ? `open until ${at(one.until)}`
    : one.state === "open"
      ? "open, the next call is a probe"
      : one.state;
/** What tells a run from others of its workflow: ids that were made begin with its name. */
export const tail = (id, workflow) => {
  const own = id.split(".").at(-1);
  if (id.startsWith(`${workflow}@`)) return id.slice(workflow.length + 1);
  return /^[a-z0-9]{10}$/.test(own.slice(-10)) && own.at(-11) === "-" && (own !== id || own.slice(0, -11) === workflow)
    ? own.slice(-10)
    : id;
};
export const first = text => (text || "").split("\n")[0];
/** A text as a shell takes it. */
export const quoted = text => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
/** Does a line of a log say that something is wrong? */
export const grave = line => line.level === "ERROR" || line.level === "CRITICAL";
